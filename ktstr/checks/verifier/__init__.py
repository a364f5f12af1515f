"""What the kernel's BPF verifier says of programs: its log, made short, and how near its limits they are."""
