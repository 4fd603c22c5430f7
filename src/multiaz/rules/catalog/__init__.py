"""The rules, one per module, each named after what it asks for. `multiaz.rules.rule.rules` finds them."""
