"""Feature columns: kinds found or declared, cells read and checked, values coded."""
