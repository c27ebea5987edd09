//! `glassdock`. Everything is in the library.

fn main() {
    std::process::exit(glassdock_cli::run(std::env::args_os()));
}
