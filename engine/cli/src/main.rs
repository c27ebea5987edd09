//! `glassdock`: the client, and the door to everything else. See the library.

fn main() {
    std::process::exit(glassdock_cli::client(std::env::args_os()));
}
