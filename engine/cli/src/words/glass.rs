//! The flags that glassdock has beside Docker's, on every command: they show
//! what the command does, and stop it before each step.

use super::Kind::{List, Maybe};
use super::{Flag, NO, flag};

/// `--trace`, `--step` and `--break`.
pub(crate) const FLAGS: &[Flag] = &[
    flag(
        NO,
        "trace",
        Maybe,
        "Show on stderr what the engine does: --trace=steps (default) or --trace=all; --trace=off records nothing",
    ),
    flag(NO, "step", Maybe, "Stop before each step, or with --step=syscalls before each call"),
    flag(NO, "break", List, "Stop before each event of this kind, such as layer.mount"),
];
