"""Rows of tables: classes of rows, and entities (patients, users) with a regression task each."""
