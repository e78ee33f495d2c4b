"""The leakage auditor: what in a data set makes metrics lie, for one protocol."""

from onward.data.audit.auditor import Audit, audit, audit_split
from onward.data.audit.findings import Finding

__all__ = ["Audit", "Finding", "audit", "audit_split"]
