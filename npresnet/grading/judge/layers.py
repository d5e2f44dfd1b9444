"""The layers between a submission and everything else. All are used; tests leave some out to see that others hold."""

POLICY = "policy"  # imports and names, before anything runs
KERNEL = "kernel"  # Landlock and seccomp
AUDIT_HOOK = "audit hook"
LAYERS = (POLICY, KERNEL, AUDIT_HOOK)
