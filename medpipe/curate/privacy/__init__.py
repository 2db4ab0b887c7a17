"""Personal data in texts: found by versioned rules, replaced by typed placeholders, counted, sampled."""
