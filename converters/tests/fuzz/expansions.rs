// converters/tests/fuzz/expansions.rs
//! Words and what is expanded in them.

use std::fmt::Write as _;

use super::{ARRAYS, EXTENDED, INTEGERS, SCALARS, VALUES, Writer, quoted};

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

impl Writer {
    pub(super) fn braces(&mut self) -> String {
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

    pub(super) fn pattern(&mut self) -> String {
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
    pub(super) fn parameter(&mut self, quoted: bool) -> String {
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

    pub(super) fn parameter_name(&mut self) -> String {
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

    pub(super) fn alternative(&mut self, quoted: bool) -> String {
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

    pub(super) fn arithmetic(&mut self) -> String {
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

    pub(super) fn double(&mut self) -> String {
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

    pub(super) fn piece(&mut self) -> String {
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

    pub(super) fn word(&mut self) -> String {
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

    /// The right side of an assignment. What bash makes there of a list beside other expansions is left out: it splits the whole.
    pub(super) fn assigned(&mut self) -> String {
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

    /// A word that cannot be taken for anything else where it stands.
    pub(super) fn word_in_list(&mut self) -> String {
        let word = self.word();
        let odd = word.is_empty() || word.starts_with(['#', '!', '[', '{', '}', '-']) || word == "]]";
        if odd { format!("''{word}") } else { word }
    }

    pub(super) fn words(&mut self, most: usize) -> String {
        let count = self.random.below(most + 1);
        let words: Vec<String> = (0..count).map(|_| self.word_in_list()).collect();
        words.join(" ")
    }

    pub(super) fn table(&mut self) -> String {
        let mut out = String::new();
        for _ in 0..=self.random.below(4) {
            let key = self.random.of(&["k", "key", "'two words'", "1", "\"$a\"", "x.y", "0"]);
            let value = self.assigned();
            let _ = write!(out, "[{key}]={value} ");
        }
        out
    }

    pub(super) fn elements(&mut self) -> String {
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
}
