"""One file per dataset, each with a subclass of ``Source`` named ``SOURCE``."""
