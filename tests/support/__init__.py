"""What tests share: comparisons, guarded memory, fresh processes, planted faults, cases. No test stands here."""
