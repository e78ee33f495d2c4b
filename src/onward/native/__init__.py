"""What PyTorch is slow at on a processor, compiled when Onward is installed; without it PyTorch does it all."""
