//! `farmgate`: hands the command line to the library.

use std::process::ExitCode;

/// Pages of thousands of connections come and go; jemalloc gives them back where glibc's allocator keeps them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let code = farmgate::cli::main(std::env::args_os(), &mut std::io::stdout(), &mut std::io::stderr());
    ExitCode::from(code)
}
