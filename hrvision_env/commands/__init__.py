"""What stands behind `python -m hrvision_env`: one file per command that needs one."""
