use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $title:literal $explanation:literal)+) => {
        /// Every kind of complaint there is. Numbers are never used again for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number, e.g. `E0203`.
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => stringify!($code),)+ }
            }

            /// What it is about, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means, an example, and what to do: for `atoll explain`.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

// E00 files and TOML · E01 structure of a pipeline · E02 names and references · E03 expressions and templates ·
// E04 verbs and schemas · E05 control and graph · E06 inputs · E07 scenarios · W warnings of the same groups.
codes! {
    E0001 Syntax Error "the file is no valid TOML"
        "The text could not be read as TOML. All syntax errors of the file are listed; mend the first one first."
    E0701 ScenarioSyntax Error "the scenario file is no valid YAML"
        "The file could not be read as YAML, or has a key or type that scenarios do not have."
}

impl Code {
    /// The code with that number, in any case.
    pub fn parse(number: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number().eq_ignore_ascii_case(number))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}
