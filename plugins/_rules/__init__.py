"""What is looked for: rulesets, matchers, TrID definitions and the names of ATT&CK."""
