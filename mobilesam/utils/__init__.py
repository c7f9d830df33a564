"""Names under which scripts written for the reference import things; nothing of this package uses them."""
