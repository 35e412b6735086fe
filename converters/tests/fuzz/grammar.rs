// converters/tests/fuzz/grammar.rs
//! Writes shell text at random, from a grammar of everything that metadata may be made of.
//!
//! A case is a list of statements, each of which may be left out, so that a case that fails can be made smaller. Nothing here
//! needs a program, a clock or a file: what bash makes of it is in the text alone. Every loop has a counter of its own, so every case ends.

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
const BARE: [&str; 26] = [
    "a", "foo", "1.2", "_", "-", "+", "x86", "/", ".", ",", ":", "%", "=", "@", "^", "lib", "v", "0", "\u{e9}", "!",
    "]", "A", "Bc", "-e", "2", "#",
];
const PATTERNS: [&str; 31] = [
    "*",
    "?",
    ".",
    "-",
    "a",
    "b*",
    "*.",
    "[a-c]",
    "[!a-c]",
    "[^.]*",
    "[[:digit:]]",
    "[[:alpha:]]*",
    "*[0-9]",
    "??",
    "foo",
    "X",
    "o",
    " ",
    "\\*",
    "'*'",
    "\".\"",
    "$a",
    "\"$b\"",
    "*-*",
    "[.:]",
    "/*/",
    "*/",
    ":",
    "[]x]",
    "\\?",
    "?*",
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

    fn table(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..=self.random.below(4) {
            let key = self.random.of(&["k", "key", "'two words'", "1", "\"$a\"", "x.y", "0"]);
            let value = self.assigned();
            let _ = write!(out, "[{key}]={value} ");
        }
        out
    }

    fn words(&mut self, most: usize) -> String {
        let count = self.random.below(most + 1);
        let words: Vec<String> = (0..count).map(|_| self.word_in_list()).collect();
        words.join(" ")
    }

    /// A word that cannot be taken for anything else where it stands.
    fn word_in_list(&mut self) -> String {
        let word = self.word();
        let odd = word.is_empty() || word.starts_with(['#', '!', '[', '{', '}', '-']) || word == "]]";
        if odd { format!("''{word}") } else { word }
    }

    /// The right side of an assignment. What bash makes there of a list beside other expansions is left out: it splits the whole.
    fn assigned(&mut self) -> String {
        let text = if self.random.one_in(8) {
            self.random.of(&["\"${x[@]}\"", "${x[@]}", "\"a $@\"", "\"$*\"", "${y[*]}"]).to_owned()
        } else {
            self.word()
        };
        let mut text = text.replace("[@]", "[*]").replace("$@", "$*").replace("${@", "${*");
        // Nor is a list of one empty text taken for empty there.
        for operator in ["-", "+", "="] {
            for list in ["[*]", "${*"] {
                text = text.replace(&format!("{list}:{operator}"), &format!("{list}{operator}"));
            }
        }
        text
    }

    fn word(&mut self) -> String {
        self.depth += 1;
        let count = if self.depth > 4 { 1 } else { 1 + self.random.below(3) };
        let mut out = String::new();
        for _ in 0..count {
            let piece = self.piece();
            // A dollar or a name before a letter would read on.
            out.push_str(&piece);
        }
        self.depth -= 1;
        out
    }

    fn piece(&mut self) -> String {
        let kind = if self.depth > 5 { self.random.below(6) } else { self.random.below(26) };
        match kind {
            0..=2 => self.random.of(&BARE).to_owned(),
            3 => quoted(self.random.of(&VALUES)),
            4 => format!("${{{}}}", self.random.of(&SCALARS)),
            5 => format!("\"${{{}}}\"", self.random.of(&ARRAYS)),
            6..=8 => format!("\"{}\"", self.double()),
            9 => self
                .random
                .of(&["$'a\\tb'", "$'\\x41\\u00e9'", "$'\\101\\e['", "$'a\\nb'", "$'\\cZ'", "$'\\q'"])
                .to_owned(),
            10 => format!("\\{}", self.random.of(&[" ", "$", "\"", "'", "\\", "*", "a", "~", "{"])),
            11..=15 => self.parameter(false),
            16 => self.parameter(true),
            17 => format!("$({})", self.printing()),
            18 => format!("$(({}))", self.arithmetic()),
            19 | 20 => self.braces(),
            21 => self.random.of(&["*", "?", "[ab]", "fix-*", "*.patch", "[!f]*", "nothing*"]).to_owned(),
            22 => self
                .random
                .of(&["\"$@\"", "$*", "\"$*\"", "$1", "${2}", "$#", "\"${@:2}\"", "${*:1:1}", "$?"])
                .to_owned(),
            23 => format!("\"{}\"", self.parameter(true)),
            24 => format!(
                "`{}`",
                self.random.of(&["echo a b", "printf '%s.' 1 2", "echo \\\"x\\\"", "echo \\\\\\\\", "echo $a"])
            ),
            _ => format!("$[{}]", self.random.of(&["1+2", "i*2", "n++"])),
        }
    }

    fn double(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..=self.random.below(3) {
            let piece = match self.random.below(9) {
                0 | 1 => self
                    .random
                    .of(&[
                        "foo", " ", "a  b", "-", "\\\"", "\\$x", "\\\\", "\\q", "*", "~", "{a,b}", "\\`", "\\\n", "%",
                    ])
                    .to_owned(),
                2 => format!("$({})", self.printing()),
                3 => format!("$(({}))", self.arithmetic()),
                4 => format!("${{{}}}", self.random.of(&SCALARS)),
                5 => self.random.of(&["$@", "$*", "${x[@]}", "${x[*]}", "${y[@]}", "${#x[@]}", "$#"]).to_owned(),
                _ => self.parameter(true),
            };
            out.push_str(&piece);
        }
        // Both kinds of lists in the same quotes are split where only one of them should be.
        if out.contains('@') { out.replace("[*]", "[@]").replace("$*", "$@").replace("${*", "${@") } else { out }
    }

    fn braces(&mut self) -> String {
        let kind = self.random.below(8);
        match kind {
            0 => self
                .random
                .of(&[
                    "{1..4}",
                    "{01..10..3}",
                    "{c..a}",
                    "{a..e..2}",
                    "{5..1}",
                    "{-1..1}",
                    "{1..2}{a,b}",
                    "{-05..5..5}",
                    "{0..-9..4}",
                ])
                .to_owned(),
            1 => self
                .random
                .of(&[
                    "{a}",
                    "{}",
                    "{a,b",
                    "{1..b}",
                    "a}",
                    "{1...3}",
                    "{,}",
                    "{a..b..c}",
                    "{1..3..0}",
                    "{,a}b",
                    "\\{a,b}",
                    "{a\\,b,c}",
                ])
                .to_owned(),
            _ => {
                let count = 2 + self.random.below(2);
                let parts: Vec<String> = (0..count)
                    .map(|_| match self.random.below(5) {
                        0 if self.depth < 5 => self.word(),
                        1 => self.random.of(&["{1,2}", "{x..z}", "\"a b\"", "$a", "", "'*'"]).to_owned(),
                        _ => self.random.of(&BARE).to_owned(),
                    })
                    .collect();
                format!("{{{}}}", parts.join(","))
            }
        }
    }

    fn pattern(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..=self.random.below(2) {
            let piece = if self.extglob && self.random.one_in(4) {
                self.random.of(&EXTENDED)
            } else {
                self.random.of(&PATTERNS)
            };
            out.push_str(piece);
        }
        out
    }

    /// What stands in `${}`, with its marks; `quoted` where it is within double quotes.
    fn parameter(&mut self, quoted: bool) -> String {
        self.depth += 1;
        let name = self.parameter_name();
        let text = match self.random.below(24) {
            0 => format!("#{name}"),
            1 => format!("#{}[{}]", self.random.of(&ARRAYS), self.random.of(&["@", "*", "0", "1"])),
            2 => format!("!{}[@]", self.random.of(&["x", "y", "z", "a", "m"])),
            3 => "!r".to_owned(),
            4..=6 => {
                let operator = self.random.of(&[":-", "-", ":+", "+", ":=", "="]);
                let plain = if operator.ends_with('=') { self.random.of(&["d", "e", "s"]).to_owned() } else { name };
                format!("{plain}{operator}{}", self.alternative(quoted))
            }
            7..=10 => format!("{name}{}{}", self.random.of(&["#", "##", "%", "%%"]), self.pattern()),
            11..=13 => {
                let operator = self.random.of(&["/", "//", "/#", "/%"]);
                let replacement = match self.random.below(7) {
                    0 => String::new(),
                    1 => "/".to_owned(),
                    2 => "/$b".to_owned(),
                    3 => "/&".to_owned(),
                    4 => "/\\&x".to_owned(),
                    5 => "/\"$a\"".to_owned(),
                    _ => format!("/{}", self.random.of(&["_", ".", "foo", "'a b'", "\\/", "/"])),
                };
                format!("{name}{operator}{}{replacement}", self.pattern().replace('/', "\\/"))
            }
            14 | 15 => {
                let operator = self.random.of(&["^", "^^", ",", ",,", "~", "~~"]);
                let pattern =
                    if self.random.one_in(3) { self.random.of(&["[a-c]", "f", "?", "[[:upper:]]", "o"]) } else { "" };
                format!("{name}{operator}{pattern}")
            }
            16..=18 => {
                let offset = self.random.of(&["0", "1", "2", " -1", " -2", "(-3)", "i", "i-1", "9", "$i", " -9"]);
                let length = match self.random.below(4) {
                    0 => String::new(),
                    1 if offset == "0" => format!(":{}", self.random.of(&["-1", " -2"])),
                    _ => format!(":{}", self.random.of(&["0", "1", "2", "99", "i&7"])),
                };
                // A list takes no negative length.
                let listed = name.contains(['@', '*']);
                let length = if listed && length.contains('-') { ":1".to_owned() } else { length };
                format!("{name}:{offset}{length}")
            }
            19 | 20 => format!("{name}@{}", self.random.of(&["Q", "U", "L", "u", "Q"])),
            21 => format!("{}@a", self.random.of(&["a", "i", "m", "d"])),
            _ => name,
        };
        self.depth -= 1;
        format!("${{{text}}}")
    }

    fn parameter_name(&mut self) -> String {
        match self.random.below(14) {
            0..=5 => self.random.of(&SCALARS).to_owned(),
            6 => self.random.of(&INTEGERS).to_owned(),
            7 | 8 => format!("{}[@]", self.random.of(&ARRAYS)),
            9 => format!("{}[*]", self.random.of(&ARRAYS)),
            10 => {
                format!("{}[{}]", self.random.of(&ARRAYS), self.random.of(&["0", "1", "i&3", "$((i&1))", "${#x[@]}"]))
            }
            11 => self.random.of(&["m[k]", "m[key]", "m['two words']", "m[$a]"]).to_owned(),
            12 => self.random.of(&["1", "2", "@", "*"]).to_owned(),
            _ => self.random.of(&ARRAYS).to_owned(),
        }
    }

    fn alternative(&mut self, quoted: bool) -> String {
        if quoted {
            return match self.random.below(4) {
                0 => self.random.of(&["a b", "i't's", "\"a  b\"", "'q'", "\\}", "*"]).to_owned(),
                1 if self.depth < 5 => self.parameter(true),
                2 => String::new(),
                _ => self.random.of(&BARE).replace('#', "h"),
            };
        }
        match self.random.below(5) {
            0 if self.depth < 5 => self.word().replace(['`', '{', '}'], "").replace("$'", "'") + "w",
            1 if self.depth < 5 => self.parameter(false),
            2 => self.random.of(&["a b", "'c  d'", "\"e f\" g", "\"$@\"", "'*'"]).to_owned(),
            3 => String::new(),
            _ => self.random.of(&BARE).to_owned(),
        }
    }

    fn arithmetic(&mut self) -> String {
        self.depth += 1;
        let kind = if self.depth > 4 { self.random.below(5) } else { self.random.below(22) };
        let text = match kind {
            0 | 1 => self
                .random
                .of(&["0", "1", "2", "10", "0x1F", "017", "16#ff", "2#101", "36#Z", "64#@", "9223372036854775807", "3"])
                .to_owned(),
            2 | 3 => self.random.of(&INTEGERS).to_owned(),
            4 if self.plain => "n".to_owned(),
            4 => self
                .random
                .of(&["${#a}", "$i", "${#x[@]}", "$((i+1))", "q[1]", "q[i&1]", "\"3\"", "$#", "${n:-4}"])
                .to_owned(),
            5..=10 => {
                let operator = self.random.of(&[
                    "+ ", "- ", "*", "<", ">", "<=", ">=", "==", "!=", "&", "|", "^", "&&", "||", ",", " + ", " - ",
                ]);
                format!("{}{operator}{}", self.arithmetic(), self.arithmetic())
            }
            11 => format!("({})", self.arithmetic()),
            12 => format!("{} ({})", self.random.of(&["-", "!", "~", "+"]), self.arithmetic()),
            13 => format!(
                "({}) {} {}",
                self.arithmetic(),
                self.random.of(&["/", "%", "<<", ">>", "**"]),
                1 + self.random.below(9)
            ),
            14 => format!("({}) ? ({}) : ({})", self.arithmetic(), self.arithmetic(), self.arithmetic()),
            15 => format!(
                "({} {} {})",
                self.random.of(&INTEGERS),
                self.random.of(&["=", "+=", "-=", "*=", "|=", "&=", "^=", "<<="]),
                self.random.below(7)
            ),
            16 => format!("({}{})", self.random.of(&INTEGERS), self.random.of(&["++", "--"])),
            17 => format!("({}{})", self.random.of(&["++", "--"]), self.random.of(&INTEGERS)),
            18 => format!("({}) ? {} : {}", self.arithmetic(), self.random.of(&INTEGERS), self.random.below(5)),
            19 => format!("(y[{}] = {})", self.random.below(4), self.random.below(100)),
            20 => format!("({} && ({}))", self.random.of(&["0", "1", "i"]), self.arithmetic()),
            _ => format!("({} || (n = {}))", self.random.of(&["0", "1", "j"]), self.random.below(9)),
        };
        self.depth -= 1;
        text
    }

    /// Commands that print.
    fn printing(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(12) {
            0..=2 => format!("echo {} {}", self.random.of(&["", "-n", "-e", "-E", "-ne"]), self.words(3)),
            3 => "echo -e 'a\\tb\\x41\\0101\\n\\\\'".to_owned(),
            4..=6 => self.printf(""),
            7 if self.depth < 4 => {
                let statement = self.statement();
                // Bash does not always find the end of a list in a substitution, where quotes stand in it.
                let statement = if statement.contains("=(") { self.assignment_of_text() } else { statement };
                format!(" {statement}; echo {}", self.words(2))
            }
            8 => format!("[[ {} ]] && echo yes || echo no", self.condition()),
            9 => format!("printf '%s\\n' {}", self.words(3)),
            10 => format!("for k in {}; do printf '<%s>' \"$k\"; done", self.words(3)),
            _ => format!("echo {}", self.word_in_list()),
        };
        self.depth -= 1;
        text
    }

    fn printf(&mut self, options: &str) -> String {
        let format = match self.random.below(6) {
            0 => self.random.of(&[
                "'%s.%s\\n'",
                "'%5s|%-5s|'",
                "'%.2s'",
                "'%b'",
                "'%q '",
                "'%%%s'",
                "'%c'",
                "'\\x41\\101\\n%s'",
                "'%*s'",
                "'%-*s|'",
                "'%s'",
            ]),
            1 => self.random.of(&["'[%s]'", "'%s\\t'", "\"%s\\n\"", "'%5.1s'", "%s", "'%s %s %s\\n'"]),
            _ => {
                let number = self.random.of(&[
                    "'%d'", "'%03d'", "'%x'", "'%X'", "'%o'", "'%+d'", "'%5d|'", "'%-5d|'", "'%#x'", "'%i,'", "'% d'",
                    "'%.3d'",
                ]);
                let values = self.random.of(&["1", "42", "-7", "0x1f", "017", "\"'a\"", "1 2 3", "''"]);
                return format!("printf {options} {number} {values}");
            }
        };
        format!("printf {options} {format} {}", self.words(4))
    }

    fn condition(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(16) {
            0 => format!("{} {}", self.random.of(&["-n", "-z"]), self.word_in_list()),
            1 => format!("-v {}", self.random.of(&["a", "e", "x", "x[1]", "m[k]", "nope", "y[0]", "x[@]"])),
            2 | 3 => {
                format!("{} {} {}", self.word_in_list(), self.random.of(&["==", "=", "!="]), self.pattern_word(true))
            }
            4 => {
                let right = self.random.of(&[
                    "^[0-9]+",
                    "([a-z]+)-([a-z_]+)",
                    "\"$b\"",
                    "^(.*)\\.([0-9]+)$",
                    "o{1,2}",
                    "^$",
                    "[[:space:]]",
                    "(foo|bar)",
                    "x|y",
                    "^v?([0-9]+)\\.([0-9]+)",
                    "'.'",
                    "[^a-z]",
                    "(a|ab)(c|bcd)?",
                    "\\.",
                    "$d",
                ]);
                format!("{} =~ {right}", self.word_in_list())
            }
            5 => format!(
                "{} {} {}",
                self.random.of(&["i", "j", "3", "$n"]),
                self.random.of(&["-eq", "-ne", "-lt", "-le", "-gt", "-ge"]),
                self.random.of(&["2", "n", "i+1", "$j"])
            ),
            6 => format!("{} {} {}", self.word_in_list(), self.random.of(&["<", ">"]), self.word_in_list()),
            7 if self.depth < 4 => format!("! {}", self.condition()),
            8 if self.depth < 4 => format!("( {} )", self.condition()),
            9 | 10 if self.depth < 4 => {
                format!("{} {} {}", self.condition(), self.random.of(&["&&", "||"]), self.condition())
            }
            _ => format!("{} == {}", self.parameter(false), self.pattern_word(true)),
        };
        self.depth -= 1;
        text
    }

    /// A pattern behind `in` or `==`; the latter knows the extended ones always.
    fn pattern_word(&mut self, extended: bool) -> String {
        let piece =
            if extended && self.random.one_in(4) { self.random.of(&EXTENDED).to_owned() } else { self.pattern() };
        piece.replace(' ', "\\ ")
    }

    fn test(&mut self) -> String {
        let words = ["a", "''", "\"$a\"", "\"$b\"", "1", "\"${x[0]}\"", "foo"];
        let (left, right) = (self.random.of(&words), self.random.of(&words));
        let inner = match self.random.below(7) {
            0 => format!("{} {left}", self.random.of(&["-n", "-z", "! -n", "! -z"])),
            1 | 2 => format!("{left} {} {right}", self.random.of(&["=", "!=", "==", "\\<", "\\>"])),
            3 => format!(
                "{} {} {}",
                self.random.of(&["1", "$((i))", "-2"]),
                self.random.of(&["-eq", "-ne", "-lt", "-le", "-gt", "-ge"]),
                self.random.below(4)
            ),
            4 => left.to_owned(),
            5 => format!("{left} = {right} {} -n {left}", self.random.of(&["-a", "-o"])),
            _ => format!("! {left} = {right}"),
        };
        if self.random.one_in(2) { format!("[ {inner} ]") } else { format!("test {inner}") }
    }

    fn command_condition(&mut self) -> String {
        match self.random.below(8) {
            0..=3 => format!("[[ {} ]]", self.condition()),
            4 => self.test(),
            5 => format!("(( {} ))", self.arithmetic()),
            6 => self.random.of(&["true", "false", "! true", "true && false", "false || true", "! false"]).to_owned(),
            _ => format!("[[ {} ]] {} [[ {} ]]", self.condition(), self.random.of(&["&&", "||"]), self.condition()),
        }
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

    fn elements(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..self.random.below(5) {
            let element = match self.random.below(9) {
                0 => format!("[{}]={}", self.random.of(&["0", "2", "5", "i%3+1", "1+2", "9"]), self.assigned()),
                1 => "# a (comment\n".to_owned(),
                2 => "\n".to_owned(),
                3 => format!("[{}]+={}", self.random.of(&["0", "2"]), self.assigned()),
                _ => self.word_in_list(),
            };
            out.push(' ');
            out.push_str(&element);
        }
        out
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
        let mut word = self.word_in_list();
        while leaves_mark(&word) {
            word = self.word_in_list();
        }
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

    fn declaration(&mut self) -> String {
        match self.random.below(10) {
            0 => format!("declare {}={}", self.random.of(&SCALARS), self.assigned()),
            1 => format!("declare -i n={}", self.random.of(&["3+4", "i*2", "0x10", "'2 + 2'"])),
            2 => format!("declare -l d={}", quoted(self.random.of(&VALUES))),
            3 => format!("declare -u e={}", quoted(self.random.of(&VALUES))),
            4 => format!("declare -a z=({})", self.elements()),
            5 => format!("export {}={}", self.random.of(&SCALARS), self.assigned()),
            6 => "declare -i n; n+=5".to_owned(),
            7 => format!("typeset {}", self.random.of(&["a", "e", "-a y", "-x b"])),
            8 => "declare -n reference=a; reference+=z; unset -n reference".to_owned(),
            _ => format!(
                "declare {}={} {}={}",
                self.random.of(&SCALARS),
                self.assigned(),
                self.random.of(&SCALARS),
                self.assigned()
            ),
        }
    }

    fn read(&mut self) -> String {
        let names = self.random.of(&["a", "a b", "a b c", "-r s", "-r a b", "-ra y", "-a z", "", "-r"]);
        match self.random.below(3) {
            0 => format!("read {names} <<< ''{}", self.assigned()),
            1 => format!("read {names} < <({})", self.printing()),
            _ => format!(
                "read -d '' {} <<EOF\n{}\nEOF",
                names,
                self.random.of(&["a b\nc", "$a x", "one  two\tthree ", "\\$a `echo q`"])
            ),
        }
    }

    fn document(&mut self) -> String {
        let tag = self.random.of(&["EOF", "'EOF'", "\"EOF\"", "\\EOF"]);
        let dash = if self.random.one_in(3) { "-" } else { "" };
        let mut body = String::new();
        for _ in 0..self.random.below(4) {
            let line = match self.random.below(6) {
                0 => "\ttabbed".to_owned(),
                1 => self
                    .random
                    .of(&[
                        "it's",
                        "\"quoted\"",
                        "a \\",
                        "\\$a",
                        "\\\\",
                        "$(echo sub)",
                        "`echo tick`",
                        "'$a'",
                        "${a:-\"x\"}",
                        "${e:-'}'}",
                    ])
                    .to_owned(),
                2 => self.parameter(true),
                3 => format!("$(({}))", self.arithmetic()),
                _ => self.random.of(&VALUES).to_owned(),
            };
            body.push_str(&line);
            body.push('\n');
        }
        // A line that ends in a backslash would swallow the end.
        let body = body.replace("\\\nEOF", "\\ \nEOF");
        let body = if body.ends_with("\\\n") { format!("{body}x\n") } else { body };
        format!("s=$(while read -r line; do printf '%s|' \"$line\"; done <<{dash}{tag}\n{body}EOF\n)")
    }
}

/// Whether bash 5.2 may leave its mark for an empty quoted text (a DEL) in the word of a `case`: `case "${a:0:2}"x in x)` does not match where
/// `a` is empty and set. Only quotes with nothing but such a part of an empty value, beside other text, do it; without a part that was
/// taken or changed (`"$a"x`) it does not come to this.
fn leaves_mark(word: &str) -> bool {
    word.contains('"')
        && word.split("${").skip(1).any(|inner| {
            let name =
                inner.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'!').count();
            let rest = &inner[name..];
            let rest = if rest.starts_with('[') { rest.split_once(']').map_or("", |(_, rest)| rest) } else { rest };
            rest.starts_with(['/', '^', ',', '~', '@'])
                || rest.strip_prefix(':').is_some_and(|rest| !rest.starts_with(['-', '=', '+', '?']))
        })
}

/// Quotes a text for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
