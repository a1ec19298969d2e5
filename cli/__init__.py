"""The `helmsight` command: one thin module a sub-command, imported only when it is called."""
