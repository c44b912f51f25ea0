"""What every metric asks of its inputs, for those that do as metrics do."""

from rarecall.metrics._shared import check_inputs

__all__ = ["check_inputs"]
