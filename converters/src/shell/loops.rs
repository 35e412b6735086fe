// converters/src/shell/loops.rs
//! Loops and `case`.

use super::evaluate::{Evaluator, Stop};
use super::expand::Mode;
use super::fields::{Bit, has_empty_element, joined};
use super::parameters::has_list;
use super::syntax::{Arm, ArmEnd, Statement, Word};

impl Evaluator<'_> {
    /// Runs a loop's body; says whether the loop goes on.
    fn round(&mut self, body: &[Statement]) -> Result<bool, Stop> {
        self.budget.step()?;
        match self.list(body) {
            Ok(()) | Err(Stop::Continue(1)) => Ok(true),
            Err(Stop::Break(1)) => Ok(false),
            Err(Stop::Break(levels)) => Err(Stop::Break(levels - 1)),
            Err(Stop::Continue(levels)) => Err(Stop::Continue(levels - 1)),
            Err(stop) => Err(stop),
        }
    }

    fn in_loop(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.loops += 1;
        let result = self.deeper(work);
        self.loops = self.loops.saturating_sub(1);
        result
    }

    pub(super) fn while_loop(&mut self, until: bool, condition: &[Statement], body: &[Statement]) -> Result<(), Stop> {
        self.in_loop(|shell| {
            let mut status = Some(0);
            loop {
                shell.list(condition)?;
                if (shell.known_status()? == 0) == until {
                    break;
                }
                let goes_on = shell.round(body)?;
                status = shell.status;
                if !goes_on {
                    break;
                }
            }
            shell.status = status;
            Ok(())
        })
    }

    pub(super) fn for_loop(&mut self, name: &str, words: Option<&[Word]>, body: &[Statement]) -> Result<(), Stop> {
        let values = match words {
            Some(words) => self.fields_of(words).map_err(Self::must_run)?,
            None => self.positionals().map_err(Self::must_run)?.to_vec(),
        };
        if values.is_empty() {
            self.status = Some(0);
        }
        self.in_loop(|shell| {
            for value in values {
                shell.assign_scalar(name, value)?;
                if !shell.round(body)? {
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) fn count_loop(&mut self, start: &str, test: &str, step: &str, body: &[Statement]) -> Result<(), Stop> {
        self.in_loop(|shell| {
            let value = |shell: &mut Self, text: &str| {
                if text.is_empty() { Ok(1) } else { shell.arithmetic(text).map_err(Self::must_run) }
            };
            value(shell, start)?;
            let mut entered = false;
            while value(shell, test)? != 0 {
                entered = true;
                if !shell.round(body)? {
                    break;
                }
                value(shell, step)?;
            }
            if !entered {
                shell.status = Some(0);
            }
            Ok(())
        })
    }

    /// The word that a `case` is about.
    fn chosen(&mut self, word: &str) -> Result<String, Stop> {
        let mut bits = Vec::new();
        self.bits(word, Mode::Word, &mut bits)?;
        // Beside a quoted list bash splits the rest and joins it anew with single blanks.
        let is_rough = |text: &str| {
            text.starts_with(' ') || text.ends_with(' ') || text.contains("  ") || text.contains(['\t', '\n'])
        };
        if has_list(word)
            && word.contains('"')
            && (bits.iter().any(|bit| matches!(bit, Bit::Open(text) if is_rough(text))) || has_empty_element(&bits))
        {
            return Err(Stop::Unknown(self.need("a list beside separators where nothing is split")));
        }
        let separators = self.lookup("IFS")?.map_or(" \t\n", |variable| variable.value.first().unwrap_or_default());
        let is_split =
            |bit: &Bit| matches!(bit, Bit::Open(text) | Bit::Bare(text) if text.contains(|c| separators.contains(c)));
        if has_list(word) && !separators.starts_with(' ') && bits.iter().any(is_split) {
            return Err(Stop::Unknown(self.need("a list beside separators where nothing is split")));
        }
        let text = joined(&bits);
        let is_empty = |(place, bit): &(usize, &Bit)| {
            **bit == Bit::Solid && !matches!(bits.get(place + 1), Some(Bit::Quoted(text)) if !text.is_empty())
        };
        let emptied = bits.iter().enumerate().filter(is_empty).count();
        if emptied > usize::from(text.is_empty()) {
            // Bash 5.2 may leave its own mark for an empty text in quotes, a DEL, in the word.
            return Err(Stop::Unknown(
                self.need("a part in quotes of which nothing is left beside other text in a case"),
            ));
        }
        Ok(text)
    }

    pub(super) fn case(&mut self, word: &Word, arms: &[Arm]) -> Result<(), Stop> {
        let text = self.chosen(&word.text).map_err(Self::must_run)?;
        let chars: Vec<char> = text.chars().collect();
        let (mut falls, mut ran) = (false, false);
        for arm in arms {
            let mut taken = falls;
            for pattern in &arm.patterns {
                if taken {
                    break;
                }
                let pattern = self.pattern(&pattern.text).map_err(Self::must_run)?;
                taken = self.matches(&pattern, &chars)?;
            }
            if !taken {
                continue;
            }
            // Nothing to do is done well.
            ran = !arm.body.is_empty();
            self.deeper(|shell| shell.list(&arm.body))?;
            match arm.end {
                ArmEnd::Break => break,
                ArmEnd::Fall => falls = true,
                ArmEnd::Test => falls = false,
            }
        }
        if !ran {
            self.status = Some(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn loops_and_cases_go_where_bash_goes() {
        let cases: [(&str, &[&str]); 9] = [
            ("case a in *) false ;& b) ;; esac; x=$?", &["0"]),
            ("a=0; g() { unset a; }; f() { local a=1; g; x=($a); a=2; }; f; x+=($a)", &["0", "2"]),
            ("for i in a b c; do [[ $i == b ]] && continue; x+=($i); done", &["a", "c"]),
            ("for i in 1 2; do for j in 1 2; do ((i==2)) && break 2; x+=($i$j); done; done", &["11", "12"]),
            ("for ((i=0; i<3; i++)); do x+=($i); done", &["0", "1", "2"]),
            // The body sees the status of what stood before the loop.
            ("false; for ((i=0; i<2; i++)); do x+=($?); done", &["1", "0"]),
            ("i=3; until ((i==1)); do x+=($((i--))); done", &["3", "2"]),
            ("case abc in a*) x+=(1) ;;& *c) x+=(2) ;& z) x+=(3) ;; *) x+=(4) ;; esac", &["1", "2", "3"]),
            ("false; eval 'x=$?'", &["1"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }
}
