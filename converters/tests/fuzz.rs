// converters/tests/fuzz.rs
//! Shell text written at random is understood as bash understands it.
//!
//! Real bash sources each case in a subshell and prints what every variable holds then; our evaluator must hold the same. A case that our
//! evaluator calls not static is counted with its reason, and there may be few of them. `CONARY_FUZZ_CASES` says how many cases there
//! are, `CONARY_FUZZ_SEED` where they begin, `CONARY_FUZZ_ALL` shows every difference and not only the first ones.

#[path = "fuzz/grammar.rs"]
mod grammar;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use converters::shell::{Budget, Evaluator, Stop, Value, bytes_of};
use grammar::{COMPARED, NAMES, case};

/// Beginnings and ends of the reasons for which a case may be called not static: what is in no text, or is bash's own doing.
const UNKNOWN: [&str; 16] = [
    "$0 is not in the text",
    "$$ is not in the text",
    "$! is not in the text",
    "$- is not in the text",
    "the files that match `",
    "a condition that depends on a command's success",
    "it makes more text than a PKGBUILD may",
    "a list beside separators where nothing is split",
    "a list with other separators in a default",
    "what `read` makes of it",
    "a list with other separators in a default that is assigned",
    "a list with an operator where IFS is empty",
    "a list in a substitution where IFS is empty",
    "a part in quotes of which nothing is left beside other text in a case",
    "a number beside a list in quotes where IFS holds digits or a minus",
    "a list beside other text where IFS is empty",
];

/// Those of errors, for which bash leaves a command out or ends a shell, and we do not say what comes of it.
const ERRORS: [&str; 8] = [
    " is no arithmetic",
    " is before the array's start",
    " has an empty subscript",
    " is no name",
    "a part that ends before it begins",
    "calls and substitutions are nested too deep",
    "`test` with too many arguments",
    "`test` with an argument missing",
];

/// Cases for one process of bash.
const BATCH: u64 = 250;

/// Runs every file below `$1` in a shell of its own, which is no subshell: an error in an expansion discards its command there, as it does where
/// makepkg reads a PKGBUILD, and ends a subshell.
const DRIVER: &str = r#"
cd "$2"
for file in "$1"/case*; do
  printf 'CASE\0%s\0' "${file##*case}"
  "$BASH" --norc --noprofile -c "$4" bash "$file" "$1/errors" "$3"
done
"#;

/// Sources the file `$1` and prints its state: fields that end in NUL.
const ONE: &str = r#"
__file=$1 __errors=$2 __compared=$3
set --
ulimit -t 60
source "$__file" >/dev/null 2>"$__errors"
__status=$?
IFS_HELD=${IFS-unset}
builtin printf 'STATUS\0%s\0' "$__status"
IFS=$' \t\n'
builtin set -f
for __name in $__compared; do
  if [[ $__name == IFS ]]; then
    builtin printf 'VARIABLE\0IFS\0\0001\0000\0%s\0' "$IFS_HELD"
    continue
  fi
  declare -n __held=$__name
  builtin printf 'VARIABLE\0%s\0%s\0%s\0' "$__name" "${__held@a}" "${#__held[@]}"
  (( ${#__held[@]} )) && builtin printf '%s\0' "${!__held[@]}" "${__held[@]}"
done
builtin read -r -d '' __said < "$__errors"
builtin printf 'END\0%s\0' "$__said"
"#;

/// What is compared of a variable: its attributes, its keys and its values.
type Held = (String, Vec<String>, Vec<String>);

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    /// It came to its end.
    Ended { status: Option<i32>, variables: BTreeMap<String, Held> },
    /// It is no shell.
    Syntax(String),
    /// The shell ended before.
    Died(String),
    /// Our evaluator would have to run something.
    NotStatic(String),
}

fn ours(text: &str) -> Outcome {
    let names = || Some(NAMES.iter().map(ToString::to_string).collect());
    let mut shell = Evaluator::new(Budget::default(), &names);
    shell.set("IFS", Value::Scalar(" \t\n".to_owned()));
    shell.set_arguments(Vec::new());
    let status = match shell.run(text, 1) {
        Ok(()) => shell.status(),
        Err(Stop::Return(status)) => status,
        Err(Stop::Syntax(error)) => return Outcome::Syntax(error.to_string()),
        Err(Stop::Unknown(need) | Stop::Run(need) | Stop::Budget(need)) => return Outcome::NotStatic(need.what),
        Err(stop) => return Outcome::Died(format!("{stop:?}")),
    };
    let mut variables = BTreeMap::new();
    for name in COMPARED {
        let held = shell.variable(name).map_or_else(Held::default, |variable| {
            if let Value::Unknown(need) = &variable.value {
                return ("unknown".to_owned(), vec![need.what.clone()], Vec::new());
            }
            let values = variable.value.elements();
            let shown = |texts: Vec<String>| -> Vec<String> {
                texts.iter().map(|text| String::from_utf8_lossy(&bytes_of(text)).into_owned()).collect()
            };
            if values.is_empty() {
                Held::default()
            } else {
                (variable.attributes(), shown(variable.value.keys()), shown(values))
            }
        });
        if held.0 == "unknown" {
            return Outcome::NotStatic(held.1.concat());
        }
        variables.insert(name.to_owned(), held);
    }
    Outcome::Ended { status, variables }
}

/// What bash makes of cases, in their order.
fn theirs(texts: &[String], scratch: &Path) -> Vec<Outcome> {
    let (cases, names) = (scratch.join("cases"), scratch.join("names"));
    fs::create_dir_all(&cases).unwrap();
    fs::create_dir_all(&names).unwrap();
    for name in NAMES {
        fs::write(names.join(name), "").unwrap();
    }
    for (at, text) in texts.iter().enumerate() {
        fs::write(cases.join(format!("case{at:06}")), text).unwrap();
    }
    let mut bash = Command::new("timeout");
    bash.args(["600", "bash", "--norc", "--noprofile", "-c", DRIVER, "bash"]);
    bash.arg(&cases).arg(&names).arg(COMPARED.join(" ")).arg(ONE);
    bash.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stderr(Stdio::null());
    let output = bash.output().unwrap();
    fs::remove_dir_all(&cases).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut fields = text.split('\0').peekable();
    let mut outcomes = vec![Outcome::Died("it was not run".to_owned()); texts.len()];
    while let Some("CASE") = fields.next() {
        let at: usize = fields.next().unwrap().parse().unwrap();
        outcomes[at] = Outcome::Died("bash ended".to_owned());
        if fields.next_if_eq(&"STATUS").is_none() {
            continue;
        }
        let status = fields.next().and_then(|status| status.parse().ok());
        let mut variables = BTreeMap::new();
        while fields.next_if_eq(&"VARIABLE").is_some() {
            let name = fields.next().unwrap_or_default().to_owned();
            let attributes = fields.next().unwrap_or_default().to_owned();
            let count = fields.next().and_then(|count| count.parse().ok()).unwrap_or(0);
            let mut take = || (0..count).map(|_| fields.next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
            let (keys, values) = (take(), take());
            variables.insert(name, if count == 0 { Held::default() } else { (attributes, keys, values) });
        }
        if fields.next_if_eq(&"END").is_none() {
            continue;
        }
        let errors = fields.next().unwrap_or_default();
        // Arithmetic that is wrong is told with the same words, but it is no fault of the syntax.
        let wrong = errors.lines().any(|line| {
            ["syntax error", "unexpected EOF", "unexpected end of file"].iter().any(|part| line.contains(part))
                && !["error token", "operand expected", "invalid arithmetic"].iter().any(|part| line.contains(part))
        });
        outcomes[at] = if wrong { Outcome::Syntax(errors.to_owned()) } else { Outcome::Ended { status, variables } };
    }
    outcomes
}

/// How the two differ; nothing if they agree.
fn difference(ours: &Outcome, theirs: &Outcome) -> Option<String> {
    match (ours, theirs) {
        (Outcome::NotStatic(_), _)
        | (Outcome::Syntax(_), Outcome::Syntax(_) | Outcome::Died(_))
        | (Outcome::Died(_), Outcome::Died(_)) => None,
        (Outcome::Ended { status, variables }, Outcome::Ended { status: their_status, variables: their_variables }) => {
            for (name, held) in their_variables {
                if variables.get(name) != Some(held) {
                    return Some(format!("{name}: bash has {held:?}, we have {:?}", variables.get(name)));
                }
            }
            let differs = status.is_some() && status != their_status;
            differs.then(|| format!("status: bash has {their_status:?}, we have {status:?}"))
        }
        (ours, theirs) => Some(format!("bash: {}; we: {}", short(theirs), short(ours))),
    }
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ended { .. } => "came to the end".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Leaves out statements, and lines of them, as long as the difference remains.
fn smaller(statements: &[String], scratch: &Path) -> String {
    let kind = |statements: &[String]| {
        let text = statements.join("\n");
        let found = difference(&ours(&text), &theirs(std::slice::from_ref(&text), scratch)[0])?;
        Some(found.split([':', '(']).take(2).collect::<Vec<_>>().concat().chars().take(12).collect::<String>())
    };
    let whole = kind(statements);
    let differs = |statements: &[String]| kind(statements) == whole;
    let mut kept = statements.to_vec();
    let mut changed = true;
    while changed {
        changed = false;
        for at in (0..kept.len()).rev() {
            let mut fewer = kept.clone();
            fewer.remove(at);
            if differs(&fewer) {
                kept = fewer;
                changed = true;
            }
        }
    }
    kept.join("\n")
}

#[derive(Default)]
struct Tally {
    compared: u64,
    not_static: BTreeMap<String, (u64, String)>,
    differences: Vec<String>,
}

fn batch(first: u64, count: u64, most: usize, scratch: &Path) -> Tally {
    let cases: Vec<Vec<String>> = (first..first + count).map(case).collect();
    let texts: Vec<String> = cases.iter().map(|statements| statements.join("\n")).collect();
    let mut tally = Tally::default();
    for (at, theirs) in theirs(&texts, scratch).iter().enumerate() {
        let ours = ours(&texts[at]);
        tally.compared += 1;
        if let (Outcome::NotStatic(reason), Outcome::Ended { .. }) = (&ours, theirs) {
            let entry = tally.not_static.entry(reason.clone()).or_insert_with(|| (0, texts[at].clone()));
            entry.0 += 1;
        }
        if difference(&ours, theirs).is_some() && tally.differences.len() < most {
            let text = smaller(&cases[at], scratch);
            let seed = first + at as u64;
            // On a loaded machine bash may have had no time for it among the others; alone it has.
            if let Some(now) = difference(&self::ours(&text), &self::theirs(std::slice::from_ref(&text), scratch)[0]) {
                tally.differences.push(format!("--- case {seed}: {now}\n{text}\n"));
            }
        }
    }
    tally
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn cases_written_at_random_mean_what_bash_makes_of_them() {
    let (cases, seed) = (number("CONARY_FUZZ_CASES", 1500), number("CONARY_FUZZ_SEED", 0));
    let most = if std::env::var_os("CONARY_FUZZ_ALL").is_some() { usize::MAX } else { 3 };
    let next = std::sync::atomic::AtomicU64::new(0);
    let whole = std::sync::Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let work = || {
                let scratch = tempfile::tempdir().unwrap();
                loop {
                    let at = next.fetch_add(BATCH, std::sync::atomic::Ordering::Relaxed);
                    if at >= cases || whole.lock().unwrap().differences.len() > 40 {
                        return;
                    }
                    let tally = batch(seed + at, BATCH.min(cases - at), most, scratch.path());
                    let mut whole = whole.lock().unwrap();
                    whole.compared += tally.compared;
                    whole.differences.extend(tally.differences);
                    for (reason, (count, text)) in tally.not_static {
                        whole.not_static.entry(reason).or_insert((0, text)).0 += count;
                    }
                }
            };
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, work).unwrap();
        }
    });
    let tally = whole.into_inner().unwrap();
    let among = |known: &[&str], reason: &str| known.iter().any(|one| reason.starts_with(one) || reason.ends_with(one));
    let (mut unknown, mut errors, mut others) = (0, 0, 0);
    for (reason, (count, text)) in &tally.not_static {
        if among(&UNKNOWN, reason) {
            unknown += count;
            println!("{count:6} {reason}");
        } else if among(&ERRORS, reason) {
            errors += count;
            println!("{count:6} {reason}");
        } else {
            others += count;
            println!("{count:6} {reason}\n{text}\n");
        }
    }
    let all = tally.compared;
    println!(
        "{all} cases compared with bash; not static: {unknown} unknown, {errors} errors, {others} for other reasons"
    );
    assert!(tally.differences.is_empty(), "{} differences\n{}", tally.differences.len(), tally.differences.join("\n"));
    // Shares say something of many cases.
    if all >= 500 {
        let few = |count: u64, share: u64| count * share <= all;
        assert!(few(unknown, 25), "{unknown} of {all} cases were called not static");
        assert!(few(errors, 40), "{errors} of {all} cases were called not static for errors");
        assert!(few(others, 200), "{others} of {all} cases were called not static without a reason");
    }
}
