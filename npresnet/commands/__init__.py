"""The subcommands of ``npresnet``, one module each."""
