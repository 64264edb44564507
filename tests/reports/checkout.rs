//! What payers meet on the pay page.
