"""Programs of others, unmodified, with mobilesam in place of ``mobile_sam`` and ``segment_anything``."""
