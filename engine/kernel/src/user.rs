//! Who a process is: its user, its group, its further groups.
//!
//! See credentials(7), setgroups(2), setresuid(2). The change itself is a part of
//! [`crate::capability::drop_to`], because the kernel clears capabilities when a
//! process stops being root, and the order decides what is left.

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Numbers of further groups.
    pub groups: Vec<u32>,
}
