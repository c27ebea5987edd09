//! The binary `glassdock-shim`: see [`glassdock_runtime::shim`]. Inside a container it may be process 1: see
//! [`glassdock_runtime::first`].

fn main() -> std::process::ExitCode {
    match glassdock_runtime::first::run() {
        Some(status) => status.into(),
        None => glassdock_runtime::shim::main(),
    }
}
