//! The binary `glassdock-shim`: see [`glassdock_runtime::shim`].

fn main() -> std::process::ExitCode {
    glassdock_runtime::shim::main()
}
