//! What the room promises, from outside.

mod cases;
mod hostile;
