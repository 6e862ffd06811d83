"""From a report's text to sections, sentences, mentions, assertions and labels."""
