"""What a policy looks at, and whether that is what drives it: maps, measures, a page, a film."""
