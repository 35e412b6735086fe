// converters/tests/fuzz/grammar.rs
//! Writes shell text at random, from a grammar of everything that metadata may be made of.
//!
//! A case is a list of statements, each of which may be left out, so that a case that fails can be made smaller. Nothing here
//! needs a program, a clock or a file: what bash makes of it is in the text alone. Every loop has a counter of its own, so every case ends.

#[path = "commands.rs"]
mod commands;
#[path = "expansions.rs"]
mod expansions;

use std::fmt::Write as _;

/// Numbers that look random and come again with their seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }
}

/// Variables whose values are compared in the end.
pub const COMPARED: [&str; 18] =
    ["a", "b", "c", "d", "e", "i", "j", "n", "x", "y", "z", "m", "s", "r", "REPLY", "IFS", "MAPFILE", "BASH_REMATCH"];
/// Names that are in the directory where a case is run.
pub const NAMES: [&str; 4] = ["fix-one.patch", "fix-two.patch", "README", ".hidden"];

const SCALARS: [&str; 6] = ["a", "b", "c", "d", "e", "s"];
const INTEGERS: [&str; 3] = ["i", "j", "n"];
const ARRAYS: [&str; 3] = ["x", "y", "z"];
const VALUES: [&str; 34] = [
    "1.2.3",
    "foo-bar_baz",
    "  two  words ",
    "",
    "a*b?c",
    "x\ny\n",
    "\u{e9}t\u{e9} \u{dc}ber",
    "it's",
    "say \"hi\"",
    "a:b:c",
    "-n",
    "\\",
    "0x1f",
    "007",
    "[a-z]",
    "${a}",
    "v1.0.0-rc1",
    "%d",
    "~",
    "{1,2}",
    "FooBar",
    "/usr/lib/x.so.1",
    "a b c d",
    "::a::b:",
    "*",
    "$HOME",
    "back\\slash",
    "tab\there",
    "https://e.example/x-1.0.tar.gz",
    "r12.gabcdef",
    "aXbXc",
    "!",
    "1",
    "&",
];
const EXTENDED: [&str; 9] =
    ["+([0-9])", "*(a|b)", "?(v)", "@(foo|bar)*", "!(foo)", "+(o|[a-c])", "*(?)", "@(1.|v1)*", "!(*.*)"];

/// One writer of cases.
pub struct Writer {
    random: Random,
    depth: usize,
    loops: usize,
    counters: usize,
    functions: usize,
    in_function: bool,
    extglob: bool,
    /// Nothing is expanded here.
    plain: bool,
}

/// Texts of statements.
pub fn case(seed: u64) -> Vec<String> {
    let mut writer = Writer {
        random: Random::new(seed),
        depth: 0,
        loops: 0,
        counters: 0,
        functions: 0,
        in_function: false,
        extglob: false,
        plain: false,
    };
    writer.whole()
}

impl Writer {
    fn whole(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        if self.random.one_in(4) {
            self.extglob = true;
            out.push("shopt -s extglob".to_owned());
        }
        out.push("r=a q=(3 5 8)".to_owned());
        for name in ["a", "b", "c"] {
            let value = quoted(self.random.of(&VALUES));
            out.push(format!("{name}={value}"));
        }
        out.push(format!("i={} j={}", self.random.below(12), self.random.of(&["-3", "7", "010", "0x10", "2#101"])));
        out.push(format!("x=({})", self.words(3)));
        out.push("declare -A m".to_owned());
        out.push(format!("m=({})", if self.random.one_in(2) { self.table() } else { String::new() }));
        let positional = self.words(2);
        out.push(format!("set -- {positional}"));
        let count = 2 + self.random.below(5);
        for _ in 0..count {
            let statement = self.statement();
            out.push(statement);
        }
        out
    }

    fn body(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..=self.random.below(2) {
            out.push_str(&self.statement());
            out.push('\n');
        }
        out
    }

    fn assignment(&mut self) -> String {
        let scalar = self.random.of(&SCALARS);
        let array = self.random.of(&ARRAYS);
        match self.random.below(16) {
            0..=4 => self.assignment_of_text(),
            5 => format!("{scalar}+={}", self.assigned()),
            6 | 7 => format!("{array}=({})", self.elements()),
            8 => format!("{array}+=({})", self.elements()),
            9 => format!("{array}[{}]={}", self.random.of(&["0", "3", "i&7", "${#x[@]}", "1+1"]), self.assigned()),
            10 => format!("{array}[{}]+={}", self.random.of(&["0", "1", "5"]), self.assigned()),
            11 => format!("m[{}]={}", self.random.of(&["k", "new", "'a b'", "\"$a\""]), self.assigned()),
            12 => format!("{}={}", self.random.of(&INTEGERS), self.random.below(30)),
            13 => format!("r={}", self.random.of(&["a", "b", "x", "'x[1]'", "'x[@]'", "i", "nope", "1"])),
            14 => format!("{scalar}={} {}={}", self.assigned(), self.random.of(&SCALARS), self.assigned()),
            _ => format!("IFS={}", self.random.of(&[":", "' '", "$' \\t\\n'", "''", "' :'", "-", "."])),
        }
    }

    fn assignment_of_text(&mut self) -> String {
        format!("{}={}", self.random.of(&SCALARS), self.assigned())
    }

    fn statement(&mut self) -> String {
        self.depth += 1;
        let deep = self.depth > 3;
        let text = match self.random.below(if deep { 14 } else { 44 }) {
            0..=9 => self.assignment(),
            10 => {
                let target = self.random.of(&["-v s", "-v d", "-v y[2]", "-v e"]);
                self.printf(target)
            }
            11 => format!("s=$({})", self.printing()),
            12 => format!("(( {} ))", self.arithmetic()),
            13 => format!("{} && {}", self.command_condition(), self.assignment()),
            14 | 15 => {
                let otherwise = match self.random.below(3) {
                    0 => String::new(),
                    1 => format!("else\n{}", self.body()),
                    _ => format!("elif {}; then\n{}", self.command_condition(), self.body()),
                };
                format!("if {}; then\n{}{otherwise}fi", self.command_condition(), self.body())
            }
            16..=18 => self.case_statement(),
            19..=21 => self.for_loop(),
            22 => self.counted_loop(),
            23 => {
                let counter = self.counter();
                self.loops += 1;
                let body = self.body();
                self.loops -= 1;
                format!(
                    "for (({counter}={}; {counter}<{}; {counter}++)); do\n{body}done",
                    self.random.below(3),
                    self.random.below(5)
                )
            }
            24 | 25 => self.function(),
            26 => format!("{} || {}", self.command_condition(), self.assignment()),
            27 => self.declaration(),
            28 => format!(
                "unset {}",
                self.random.of(&["a", "'x[0]'", "x", "'x[1]'", "y", "e", "'m[k]'", "-v b", "'x[-1]'", "z"])
            ),
            29 => self.read(),
            30 => format!("set -- {}", self.words(4)),
            31 => self.random.of(&["shift", "shift 1 || :", "shift $# ", "[ $# -lt 2 ] || shift 2"]).to_owned(),
            32 => format!("eval {}", quoted(&self.assignment())),
            33 => format!("( {} )", self.body()),
            34 => format!("{{ {} }}", self.body()),
            35 => {
                self.plain = true;
                let text = self.arithmetic();
                self.plain = false;
                format!("let '{text}'")
            }
            36 => self.document(),
            37 => format!(
                "{} {}",
                self.random.of(&["if ! {}; then s=no; fi", "! {}"]).replace("{}", &self.command_condition()),
                ""
            ),
            38 => {
                let options = self.random.of(&["-t", "-t -d:", "", "-td:"]);
                format!("mapfile {options} {} <<< ''{}", self.random.of(&["y", "z", ""]), self.assigned())
            }
            39 => format!(
                "IFS={} read -r {} <<< ''{}",
                self.random.of(&[":", "-", "' '", ".", "", "_-"]),
                self.random.of(&["a b c", "s", "-a y", "a", "d e"]),
                self.assigned()
            ),
            40 => format!(
                "while read -r {}; do y+=(\"$s\"); done <<< ''{}",
                self.random.of(&["s", "s e", "d s"]),
                self.assigned()
            ),
            41 => format!("s=$({} | {{ read -r e; echo \"[$e]\"; }})", self.printing()),
            42 => self.random.of(&[":", "true", "false", "s=$?"]).to_owned(),
            _ => format!(
                "{}=({}) {}=${{{}[@]}}",
                self.random.of(&ARRAYS),
                self.elements(),
                self.random.of(&SCALARS),
                self.random.of(&ARRAYS)
            ),
        };
        self.depth -= 1;
        text
    }

    fn counter(&mut self) -> String {
        self.counters += 1;
        format!("k{}", self.counters)
    }

    fn jump(&mut self) -> String {
        if self.loops == 0 || !self.random.one_in(3) {
            return String::new();
        }
        let levels = if self.loops > 1 && self.random.one_in(3) { " 2" } else { "" };
        format!("{} && {}{levels}\n", self.command_condition(), self.random.of(&["break", "continue"]))
    }

    fn for_loop(&mut self) -> String {
        let name = self.random.of(&["s", "d", "e", "k"]);
        self.loops += 1;
        let (jump, body) = (self.jump(), self.body());
        self.loops -= 1;
        match self.random.below(6) {
            0 => format!("for {name}; do\n{jump}{body}done"),
            1 => format!("for {name} in \"${{x[@]}}\"\ndo {jump}{body}done"),
            2 => format!("for {name} in {{1..3}} {}; do {jump}y+=(\"${name}\"); {body}done", self.words(2)),
            _ => format!("for {name} in {}; do\nb+=$'<'$@{name}; {jump}{body}done", self.words(4)).replace("$@", "$"),
        }
    }

    fn counted_loop(&mut self) -> String {
        let counter = self.counter();
        self.loops += 1;
        let (jump, body) = (self.jump(), self.body());
        self.loops -= 1;
        let most = self.random.below(4);
        if self.random.one_in(2) {
            format!("{counter}=0; while (( {counter}++ < {most} )); do\n{jump}{body}done")
        } else {
            format!("{counter}=0; until [ ${counter} -ge {most} ]; do\n{counter}=$(({counter}+1)); {jump}{body}done")
        }
    }

    fn case_statement(&mut self) -> String {
        let word = self.word_in_list();
        let mut out = format!("case {word} in\n");
        for _ in 0..=self.random.below(3) {
            let pattern = self.pattern_word(self.extglob);
            let more =
                if self.random.one_in(3) { format!("|{}", self.pattern_word(self.extglob)) } else { String::new() };
            let open = if self.random.one_in(3) { "(" } else { "" };
            let end = self.random.of(&[";;", ";;", ";;", ";&", ";;&"]);
            let body = if self.random.one_in(6) { String::new() } else { self.body() };
            let _ = writeln!(out, "{open}{pattern}{more}) {body} {end}");
        }
        if self.random.one_in(2) {
            let _ = writeln!(out, "*) {} ;;", self.assignment());
        }
        out + "esac"
    }

    fn function(&mut self) -> String {
        self.functions += 1;
        let name = format!("{}{}", self.random.of(&["f", "_set-", "helper."]), self.functions);
        let (loops, outer) = (std::mem::take(&mut self.loops), std::mem::replace(&mut self.in_function, true));
        let mut body = String::new();
        if self.random.one_in(2) {
            let local = match self.random.below(6) {
                0 => format!("local a={}\n", self.assigned()),
                1 => "local a b=$1\n".to_owned(),
                2 => format!("local -a x=({})\n", self.words(2)),
                3 => format!("declare d={}\n", self.assigned()),
                4 => "local IFS=:\n".to_owned(),
                _ => "local -n ref=$2; [[ $2 == [a-e] ]] && ref=$1\n".replace("ref", "reference"),
            };
            body.push_str(&local);
        }
        body.push_str(&self.body());
        if self.random.one_in(3) {
            body.push_str(self.random.of(&[
                "return 1\n",
                "return\n",
                "[[ $1 ]] || return 3\n",
                "s=$FUNCNAME\n",
                "echo \"$*\"\n",
            ]));
        }
        body.push_str(&self.body());
        (self.loops, self.in_function) = (loops, outer);
        let head = match self.random.below(3) {
            0 => format!("function {name} {{"),
            1 => format!("{name}()\n{{"),
            _ => format!("{name} () {{"),
        };
        let call = match self.random.below(4) {
            0 => format!("s=$({name} {})", self.words(2)),
            1 => format!("T=temporary {name} {}", self.words(2)),
            2 => format!("if {name} {}; then d=held; fi", self.words(2)),
            _ => format!("{name} {}", self.words(3)),
        };
        format!("{head}\n{body}}}\n{call}")
    }
}

/// Quotes a text for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
