//! The sandbox's keys, made once for all servers under test: eleven RSA keys at every start would cost more than most
//! journeys. `tests/journey_channels.rs` starts one server that makes its own.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use tongbao::config::ConfigError;
use tongbao::config::sandbox::{self, ACCOUNT};

/// Gives a server's folder a copy of the keys.
pub fn copy_to(data_dir: &Path) {
    let made = made().join("sandbox");
    for account in fs::read_dir(&made).expect("the keys are there") {
        let account = account.expect("the keys are listed");
        let copy = data_dir.join("sandbox").join(account.file_name());
        fs::create_dir_all(&copy).expect("a folder for a copy is made");
        for file in fs::read_dir(account.path()).expect("an account has files") {
            let file = file.expect("an account's files are listed");
            fs::copy(file.path(), copy.join(file.file_name())).expect("a key is copied");
        }
    }
}

/// They lie beside what cargo builds and serve later runs too, until an account wants a file that is not there.
fn made() -> &'static Path {
    static MADE: OnceLock<()> = OnceLock::new();
    let dir = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/keys"));
    MADE.get_or_init(|| {
        if open(dir).is_err() {
            let _ = fs::remove_dir_all(dir);
            open(dir).expect("the sandbox makes its keys");
        }
    });
    dir
}

fn open(dir: &Path) -> Result<(), ConfigError> {
    sandbox::Wechat::open(dir, ACCOUNT)?;
    sandbox::Alipay::open(dir, ACCOUNT)?;
    sandbox::Unionpay::open(dir, ACCOUNT)?;
    sandbox::Stripe::open(dir, ACCOUNT)?;
    Ok(())
}
