//! The layers of `src`: an import that runs against them fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules each module may import; where a deeper path is named, only that.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("store", &["domain", "config", "telemetry"]),
    ("channels", &["domain", "config", "telemetry"]),
    ("payout", &["domain", "config"]),
    ("engine", &["payout", "store", "channels", "domain", "config", "telemetry"]),
    ("http", &["engine", "payout", "store", "channels", "domain", "config", "telemetry"]),
    ("gateway", &["domain::money", "config"]),
    ("cli", &["http", "engine", "payout", "store", "channels", "domain", "config", "telemetry", "gateway"]),
    ("main", &["cli", "telemetry"]),
    // The map of the crate declares the modules and imports none.
    ("lib", &[]),
];

#[test]
fn imports_run_down_the_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).expect("the file is in src");
        let layer = layer_of(inside);
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == layer) else {
            faults.push(format!("{}: the layer `{layer}` is not in the table", inside.display()));
            continue;
        };
        seen.insert(layer.clone());
        let text = std::fs::read_to_string(&file).expect("a source is text");
        for path in imports(&text, inside) {
            let own = path.split("::").next() == Some(layer.as_str());
            if !own && !allowed.iter().any(|allowed| is_within(&path, allowed)) {
                faults.push(format!("{} imports crate::{path}", inside.display()));
            }
        }
    }
    assert!(faults.is_empty(), "against the layers:\n{}", faults.join("\n"));
    for (layer, _) in ALLOWED {
        assert!(seen.contains(*layer), "the table names `{layer}`, which is not there");
    }
}

/// A build without the feature `sandbox` has no gateway, and all else must do without.
#[test]
fn only_the_commands_of_the_sandbox_know_the_gateway() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (inside_sandbox, others): (Vec<_>, Vec<_>) = sources(&root)
        .into_iter()
        .map(|file| file.strip_prefix(&root).expect("the file is in src").to_owned())
        .filter(|inside| layer_of(inside) != "gateway")
        .filter(|inside| {
            let text = std::fs::read_to_string(root.join(inside)).expect("a source is text");
            imports(&text, inside).iter().any(|path| is_within(path, "gateway"))
        })
        .partition(|inside| inside.starts_with("cli/sandbox"));
    assert!(others.is_empty(), "only `cli/sandbox` may import the gateway: {others:?}");
    assert!(!inside_sandbox.is_empty(), "the gateway is imported somewhere");
}

fn is_within(path: &str, allowed: &str) -> bool {
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder is read") {
        let path = entry.expect("an entry is read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// `store/sqlite/commit.rs` → `store`, `config.rs` → `config`.
fn layer_of(inside: &Path) -> String {
    let first = inside.components().next().expect("a path has parts").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The module that a file is, `store/sqlite/commit.rs` → `store::sqlite::commit`.
fn module_of(inside: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        inside.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Every path within the crate that a source names, from the crate's root. Comments and texts are left out.
fn imports(source: &str, inside: &Path) -> Vec<String> {
    imports_of(source, &module_of(inside))
}

fn imports_of(source: &str, module: &[String]) -> Vec<String> {
    let code = code_of(source);
    let mut paths = Vec::new();
    for prefix in ["crate::", "tongbao::"] {
        for at in starts(&code, prefix) {
            expand("", &code[at + prefix.len()..], &mut paths);
        }
    }
    for at in starts(&code, "super::") {
        let mut rest = &code[at..];
        let mut ups = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            rest = further;
            ups += 1;
        }
        let mut found = Vec::new();
        match module.len().saturating_sub(ups) {
            // The crate's root, or, in the tests within a top-level file, that file: only a layer's name matters.
            0 => {
                expand("", rest, &mut found);
                found.retain(|path| ALLOWED.iter().any(|(layer, _)| is_within(path, layer)));
            }
            left => {
                expand(&format!("{}::", module[..left].join("::")), rest, &mut found);
            }
        }
        paths.extend(found);
    }
    paths
}

fn starts<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    code.match_indices(prefix).map(|(at, _)| at).filter(move |at| *at == 0 || !is_word(code.as_bytes()[at - 1]))
}

/// Takes a path apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(before: &str, rest: &str, paths: &mut Vec<String>) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || b"_:*".contains(&bytes[at])) {
        at += 1;
    }
    let path = format!("{before}{}", &rest[..at]);
    let opens = path.is_empty() || path.ends_with("::");
    if !opens || bytes.get(at) != Some(&b'{') {
        paths.push(path.trim_end_matches(':').to_owned());
        return at;
    }
    at += 1;
    while at < bytes.len() && bytes[at] != b'}' {
        if bytes[at].is_ascii_whitespace() || bytes[at] == b',' {
            at += 1;
            continue;
        }
        let taken = expand(&path, &rest[at..], paths);
        at += taken.max(1);
        // `as` another name.
        if rest[at..].trim_start().starts_with("as ") {
            at += rest[at..].find([',', '}']).unwrap_or(rest.len() - at);
        }
    }
    at + 1
}

/// The source without comments and texts.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    for line in source.lines() {
        let mut text = false;
        let mut escaped = false;
        let mut before = ' ';
        for character in line.chars() {
            if character == '"' && !escaped && before != '\'' {
                text = !text;
            } else if !text && character == '/' && before == '/' {
                break;
            } else if !text {
                code.push(character);
            }
            escaped = text && character == '\\' && !escaped;
            before = character;
        }
        code.push('\n');
    }
    code
}

/// Whether modules of one folder import each other in a circle; then none of them can be understood without the others.
/// A folder's own file and what lies in the folder belong together and are no circle.
#[test]
fn no_folder_has_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<(Vec<String>, String)> = sources(&root)
        .into_iter()
        .map(|file| {
            let inside = file.strip_prefix(&root).expect("the file is in src").to_path_buf();
            (module_of(&inside), std::fs::read_to_string(&file).expect("a source is text"))
        })
        .collect();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|(module, _)| module.clone()).collect();
    let mut graphs: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, text) in &files {
        for path in imports_of(text, module) {
            let path: Vec<String> = path.split("::").map(str::to_owned).collect();
            let shared = module.iter().zip(&path).take_while(|(one, other)| one == other).count();
            let (Some(from), Some(to)) = (module.get(shared), path.get(shared)) else { continue };
            if modules.contains(&[&path[..shared], std::slice::from_ref(to)].concat()) {
                let graph = graphs.entry(module[..shared].to_vec()).or_default();
                graph.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let circles: Vec<String> = graphs
        .iter()
        .filter_map(|(folder, graph)| Some(format!("{}: {}", folder.join("::"), circle(graph)?.join(" → "))))
        .collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

/// A way from a node back to itself, if there is one.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk<'a>(
        graph: &'a BTreeMap<String, BTreeSet<String>>,
        at: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(before) = way.iter().position(|node| *node == at) {
            return Some(way[before..].iter().copied().chain([at]).map(str::to_owned).collect());
        }
        if done.contains(at) {
            return None;
        }
        way.push(at);
        for next in graph.get(at).into_iter().flatten() {
            if let Some(found) = walk(graph, next, way, done) {
                return Some(found);
            }
        }
        way.pop();
        done.insert(at);
        None
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| walk(graph, start, &mut Vec::new(), &mut done))
}

#[test]
fn a_circle_is_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c", "b"]);
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let source = r#"
        use crate::domain::{id::{OrderId, PlatformId as Platform}, money};
        use super::batch::Batch;
        use crate::{cli, main::{self as first}};
        //! crate::comment
        fn f() -> crate::http::App { let text = "crate::text"; super::super::engine::clock::now() }
    "#;
    let mut found = imports(source, Path::new("store/sqlite/commit.rs"));
    found.sort();
    let expected = [
        "cli",
        "domain::id::OrderId",
        "domain::id::PlatformId",
        "domain::money",
        "http::App",
        "main::self",
        "store::engine::clock::now",
        "store::sqlite::batch::Batch",
    ];
    assert_eq!(found, expected);
    assert_eq!(layer_of(Path::new("config.rs")), "config");
    assert!(is_within("domain::money::Currency", "domain::money") && !is_within("domain::moneys", "domain::money"));
}
