"""Pictures: folders, archives and tables of labels read as classes; Omniglot, glyphs and the published sets."""
