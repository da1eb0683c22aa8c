//! Which endings of a step another step accepts.

use crate::verb::Class;

/// The endings of a step that a reader accepts, besides an output. After any other ending the reader is skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// Whether the step may be skipped, and a leaf step may be rejected or refused: it is read by `??`, or its status is.
    absence: bool,
    /// The classes of failures that are accepted of any step, as bits.
    classes: u16,
}

impl Accepts {
    /// An output and nothing else.
    pub const OUTPUT: Self = Self { absence: false, classes: 0 };
    /// What `??` and reads of `.ok`, `.skipped`, `.failed` and `.error` accept: a skip, and an unusable answer of a leaf step.
    pub const ABSENCE: Self = Self { absence: true, classes: 0 };

    /// Every ending.
    pub fn all() -> Self {
        Class::ALL.into_iter().fold(Self::ABSENCE, Self::and)
    }

    /// These endings, and failures of `class`.
    #[must_use]
    pub fn and(self, class: Class) -> Self {
        Self { classes: self.classes | bit(class), ..self }
    }

    /// What either of both accepts.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { absence: self.absence || other.absence, classes: self.classes | other.classes }
    }

    /// Whether a step is accepted that was skipped, and not because of a failure.
    pub fn skip(self) -> bool {
        self.absence
    }

    /// Whether a failure of `class` is accepted that began at a step, which is a leaf or not.
    pub fn failure(self, class: Class, is_leaf: bool) -> bool {
        let unusable = is_leaf && matches!(class, Class::Rejected | Class::Refused);
        self.classes & bit(class) > 0 || (self.absence && unusable)
    }

    /// Whether every ending is accepted.
    pub fn is_full(self) -> bool {
        self == Self::all()
    }
}

fn bit(class: Class) -> u16 {
    Class::ALL.iter().position(|known| *known == class).map_or(0, |place| 1 << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_a_skip_or_an_unusable_answer_of_a_leaf() {
        for class in Class::ALL {
            let unusable = matches!(class, Class::Rejected | Class::Refused);
            assert_eq!(Accepts::ABSENCE.failure(class, true), unusable, "{class}");
            assert!(!Accepts::ABSENCE.failure(class, false), "{class}");
            assert!(!Accepts::OUTPUT.failure(class, true), "{class}");
            assert!(Accepts::all().failure(class, false), "{class}");
            let one = Accepts::ABSENCE.and(class);
            let others: Vec<Class> =
                Class::ALL.into_iter().filter(|other| one.failure(*other, false)).collect();
            assert_eq!(others, [class]);
        }
        assert!(Accepts::ABSENCE.skip() && !Accepts::OUTPUT.skip());
        assert!(Accepts::all().is_full() && !Accepts::ABSENCE.is_full());
    }
}
