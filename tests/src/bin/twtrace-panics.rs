//! Takes the terminal as `twtrace top` does, and panics.

use twtrace::cmd::top::terminal::Terminal;

fn main() {
    let _terminal = Terminal::take().expect("this runs on a terminal");
    std::thread::sleep(std::time::Duration::from_millis(300));
    panic!("as a programmer never intends");
}
