"""The commands as they are typed: arguments, options, help. One module for each section of `--help`."""
