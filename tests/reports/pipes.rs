//! Output that nobody reads, and commands of a newcomer.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::process::{Kind, Site};
use tokio::process::Command;

/// What a shell shows of a program that SIGPIPE ended.
const READER_GONE: i32 = 141;

/// The end of a pipe whose reader has gone.
fn unread() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Runs a command whose standard output goes elsewhere.
async fn writing_to(output: Stdio, site: &Site, arguments: &[&str]) -> Output {
    let child = site.command(arguments).stdout(output).stderr(Stdio::piped()).spawn().expect("the binary runs");
    child.wait_with_output().await.expect("it ends")
}

#[actix_web::test]
async fn report_output_that_nobody_reads_is_no_panic() {
    let site = Site::new(Kind::Sqlite, "");
    let made = site.run(&["platform", "create", "shop"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for arguments in [
        vec!["platform", "list"],
        vec!["platform", "rotate", "shop"],
        vec!["webhook", "dead"],
        vec!["audit", "--no-gateway"],
        vec!["audit", "--no-gateway", "--json"],
    ] {
        let ended = writing_to(unread(), &site, &arguments).await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(READER_GONE), "{arguments:?}: {said}");
        assert_eq!(said, "", "{arguments:?}");
    }
}

#[actix_web::test]
async fn report_a_key_that_cannot_be_shown_is_not_made() {
    let site = Site::new(Kind::Sqlite, "");
    let full = || File::options().write(true).open("/dev/full").expect("/dev/full is there").into();
    let refused = writing_to(full(), &site, &["platform", "create", "shop"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output") && !said.contains("panicked"), "{said}");
    let listed = async || String::from_utf8(site.run(&["platform", "list"]).await.stdout).expect("UTF-8");
    assert!(!listed().await.contains("shop"), "{}", listed().await);

    let made = site.run(&["platform", "create", "shop"]).await;
    assert!(made.status.success(), "the name is still free");
    let before = listed().await;
    let refused = writing_to(full(), &site, &["platform", "rotate", "shop"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(listed().await, before, "no further key");
}

/// The script looks before anything is compiled, so that nobody waits for minutes to hear it.
#[actix_web::test]
async fn report_what_a_newcomer_lacks_is_named_before_anything_is_compiled() {
    let folder = crate::support::Folder::new();
    let path = std::env::var_os("PATH").expect("a PATH");
    for tool in ["bash", "cut", "sort", "head", "id"] {
        let found = std::env::split_paths(&path).map(|path| path.join(tool)).find(|path| path.is_file());
        let found = found.unwrap_or_else(|| panic!("{tool} is on the PATH"));
        std::os::unix::fs::symlink(found, folder.path().join(tool)).expect("a link");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let setup = async |what: &str| {
        let mut command = Command::new("bash");
        let command = command.arg(root.join("tests/setup.sh")).arg(what).env("PATH", folder.path()).env("SETUP", "no");
        let output = command.env_remove("CARGO").output().await.expect("bash runs");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    for what in ["run", "test"] {
        assert!(setup(what).await.contains("https://rustup.rs"));
    }
    std::os::unix::fs::symlink(env!("CARGO"), folder.path().join("cargo")).expect("a link");
    for what in ["run", "test"] {
        let said = setup(what).await;
        assert!(said.contains("a C compiler (cc)") && said.contains("apt-get install gcc"), "{what}: {said}");
    }
    let makefile = std::fs::read_to_string(root.join("Makefile")).expect("the Makefile");
    for (target, what) in [("run", "run"), ("demo", "run"), ("test", "test")] {
        let recipe = makefile.split(&format!("\n{target}: ")).nth(1).expect("a target");
        let first = recipe.lines().nth(1).expect("a recipe").trim();
        assert_eq!(first, format!("@tests/setup.sh {what}"), "{target}");
    }
}
