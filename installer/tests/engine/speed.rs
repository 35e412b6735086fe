// installer/tests/engine/speed.rs
//! How long installing takes beside unpacking the same files with `tar`; ratios of one run, both synced.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use installer::{PlanOptions, Root, RootOptions};
use store::{OpenOptions, Store};

use crate::lab::*;

const FILES: usize = 5000;
const PAIRS: usize = 5;

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn shell(command: &str) {
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
}

fn install_into(root: &Path, store: Option<&Path>, file: &Path) {
    let options = RootOptions { store: store.map(Path::to_owned), ..options(true) };
    let root = Root::open(root, &options).unwrap();
    let mut plan = root.plan(&[install(file)], &[], &PlanOptions::default()).unwrap();
    root.commit(&mut plan, &[], &AtomicBool::new(false), &|_| {}).unwrap();
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// 5,000 files of about 20 KiB in 200 directories, compressible like programs are.
#[test]
#[ignore = "a measurement; run it in release, alone"]
fn against_tar() {
    let lab = Lab::new();
    let mut recipe = package("big", "1-1");
    let mut state = 1_u64;
    for number in 0..FILES {
        let mut text = String::with_capacity(20_000);
        while text.len() < 20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text += &(state >> 40).to_string();
            text.push_str(" some words that come again ");
        }
        recipe = recipe.file(&format!("usr/share/big/{}/{number}", number % 200), &text);
    }
    let file = lab.cook(&recipe);
    let top = lab.top.path();
    let shown = top.display();
    install_into(&top.join("tree"), None, &file);
    shell(&format!("cd {shown}/tree && tar -c -I 'zstd -3' -f {shown}/big.tar.zst usr"));
    let shared = top.join("shared");
    let store = Store::open(&shared, &OpenOptions::default()).unwrap();
    let package = store::ccs::Package::open(fs::File::open(&file).unwrap()).unwrap();
    package.import(&store, &AtomicBool::new(false), &|_, _| {}).unwrap();
    drop(store);
    let (mut from_file, mut from_store) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        shell("sync");
        let tar = timed(|| {
            let to = format!("{shown}/tar-{pair}");
            shell(&format!("mkdir {to} && tar -x -I zstd -f {shown}/big.tar.zst -C {to} && sync"));
        });
        shell("sync");
        let fresh = timed(|| install_into(&top.join(format!("file-{pair}")), None, &file));
        shell("sync");
        let linked = timed(|| install_into(&top.join(format!("linked-{pair}")), Some(&shared), &file));
        eprintln!("tar {tar:.0?}  from its file {fresh:.0?}  from the store {linked:.0?}");
        from_file.push(fresh.as_secs_f64() / tar.as_secs_f64());
        from_store.push(linked.as_secs_f64() / tar.as_secs_f64());
    }
    eprintln!("from its file: {:.2} × tar; from the store: {:.2} × tar", median(from_file), median(from_store));
}
