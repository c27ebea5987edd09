//! `glassdock-engine`: what `glassdock` becomes for what needs the engine's rooms. See the library.

fn main() {
    std::process::exit(glassdock_cli::whole(std::env::args_os()));
}
