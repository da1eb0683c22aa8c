//! Named sums: what an attempt, a round or a run has spent, and to whom it went.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sums by unit, e.g. `usd`, `tokens_in`, `tokens_out`, `calls`. Kept in billionths of a unit, so that
/// adding is exact; written as decimal numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    #[serde(flatten)]
    sums: Sums,
    /// Who got what of it, where that was said.
    #[serde(default, rename = "paid", skip_serializing_if = "Vec::is_empty")]
    shares: Vec<Share>,
}

/// A part of a meter: what one payee got in one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Who got it, e.g. `anthropic/claude-haiku-4-5`.
    pub to: Arc<str>,
    /// As what, e.g. `judge`.
    #[serde(rename = "for")]
    pub role: Arc<str>,
    #[serde(flatten)]
    sums: Sums,
}

/// Amounts by unit, sorted by its name. There are few, and they are copied with every call: a list is what is cheap then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums(Vec<(UnitName, Amount)>);

/// The name of a unit; those of [`Unit`] cost nothing to copy.
type UnitName = Cow<'static, str>;

fn unit(name: &str) -> UnitName {
    Unit::parse(name).map_or_else(|| Cow::Owned(name.to_owned()), |unit| Cow::Borrowed(unit.word()))
}

/// A unit in which Atoll counts what is spent. Verbs may count in others as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// US dollars.
    Usd,
    /// Tokens in both directions: never added, always the sum of the two.
    Tokens,
    /// Tokens that were sent.
    TokensIn,
    /// Tokens that were received.
    TokensOut,
    /// Calls.
    Calls,
    /// Seconds in which the run, or a step, was worked on.
    Wall,
    /// Tokens that a provider read from its cache.
    CacheRead,
    /// Tokens that a provider wrote to its cache.
    CacheWrite,
    /// Calls that were sent and not answered, which are counted with the most that they may have cost.
    Lost,
    /// Calls that were lost, and are counted with what the same call cost later.
    Estimated,
}

impl Unit {
    /// All units; first those that can be capped, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Usd,
        Self::Tokens,
        Self::TokensIn,
        Self::TokensOut,
        Self::Calls,
        Self::Wall,
        Self::CacheRead,
        Self::CacheWrite,
        Self::Lost,
        Self::Estimated,
    ];

    /// Its name in pipelines, journals and reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::TokensIn => "tokens_in",
            Self::TokensOut => "tokens_out",
            Self::Calls => "calls",
            Self::Wall => "wall",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::Lost => "lost",
            Self::Estimated => "estimated",
        }
    }

    /// The unit with that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.word() == word)
    }
}

impl AsRef<str> for Unit {
    fn as_ref(&self) -> &str {
        self.word()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A sum in billionths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

const SCALE: f64 = 1e9;

impl Amount {
    /// The amount nearest to `units`.
    #[expect(clippy::cast_possible_truncation, reason = "saturates far beyond any sum of money or tokens")]
    pub fn of(units: f64) -> Self {
        Self((units * SCALE).round() as i64)
    }

    /// The amount in units.
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine million units")]
    pub fn units(self) -> f64 {
        self.0 as f64 / SCALE
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = self.units();
        if self.0 % 1_000_000_000 == 0 {
            serializer.serialize_i64(self.0 / 1_000_000_000)
        } else {
            serializer.serialize_f64(units)
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::of)
    }
}

impl Sums {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(unit, _)| unit.as_ref().cmp(name))
    }

    fn get(&self, name: &str) -> Amount {
        self.place(name).map_or_else(|_| Amount::default(), |place| self.0[place].1)
    }

    /// Adds `more`, whose unit is put down where it was not known, also for nothing.
    fn add(&mut self, name: &str, more: Amount) {
        match self.place(name) {
            Ok(place) => {
                let sum = &mut self.0[place].1;
                sum.0 = sum.0.saturating_add(more.0);
                // What a correction takes away to the last is forgotten.
                if more.0 < 0 && sum.0 == 0 {
                    self.0.remove(place);
                }
            }
            Err(place) => self.0.insert(place, (unit(name), more)),
        }
    }

    fn add_all(&mut self, more: &Self) {
        if self.0.is_empty() {
            self.clone_from(more);
        } else {
            more.0.iter().for_each(|(unit, amount)| self.add(unit, *amount));
        }
    }

    /// Takes away what is in `other`, down to zero; what is zero is forgotten.
    fn remove_all(&mut self, other: &Self) {
        for (unit, amount) in &other.0 {
            if let Ok(place) = self.place(unit) {
                let sum = &mut self.0[place].1;
                sum.0 = sum.0.saturating_sub(amount.0).max(0);
            }
        }
        self.0.retain(|(_, sum)| sum.0 != 0);
    }
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(unit, amount)| (unit, amount)))
    }
}

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Sums;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("amounts by unit")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sums, A::Error> {
                let mut sums = Sums::default();
                while let Some((name, amount)) = map.next_entry::<Cow<'de, str>, Amount>()? {
                    sums.add(&name, amount);
                }
                Ok(sums)
            }
        }
        deserializer.deserialize_map(Reads)
    }
}

impl Meter {
    /// Nothing spent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `units` under the name `unit`.
    pub fn add(&mut self, unit: impl AsRef<str>, units: f64) {
        self.sums.add(unit.as_ref(), Amount::of(units));
    }

    /// The same meter with `units` more under the name `unit`.
    #[must_use]
    pub fn with(mut self, unit: impl AsRef<str>, units: f64) -> Self {
        self.add(unit, units);
        self
    }

    /// The same meter, all of which went to `to` for its work as `role`.
    #[must_use]
    pub fn paid(self, to: impl Into<Arc<str>>, role: impl Into<Arc<str>>) -> Self {
        let share = Share { to: to.into(), role: role.into(), sums: self.sums.clone() };
        Self { sums: self.sums, shares: vec![share] }
    }

    /// The sums alone.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { sums: self.sums.clone(), shares: Vec::new() }
    }

    /// Who got what of it, where that was said.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Adds the sums of `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.sums.add_all(&other.sums);
    }

    /// Adds the sums of `other`, and who got what.
    pub fn absorb_shares(&mut self, other: &Self) {
        self.absorb(other);
        for share in &other.shares {
            match self.shares.iter_mut().find(|known| known.to == share.to && known.role == share.role) {
                Some(known) => known.sums.add_all(&share.sums),
                None => self.shares.push(share.clone()),
            }
        }
    }

    /// Takes the sums of `other` away, down to zero.
    pub fn remove(&mut self, other: &Self) {
        self.sums.remove_all(&other.sums);
    }

    /// Takes `other` away again, with who got what of it.
    pub fn remove_shares(&mut self, other: &Self) {
        self.remove(other);
        for share in &other.shares {
            let known = self.shares.iter().position(|known| known.to == share.to && known.role == share.role);
            if let Some(place) = known {
                self.shares[place].sums.remove_all(&share.sums);
            }
        }
        self.shares.retain(|share| !share.sums.0.is_empty());
    }

    /// This less `other`, with who got what: what is to be added to `other` so that it becomes this. Parts of it may be
    /// negative.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        let negated = |sums: &Sums| {
            Sums(sums.0.iter().map(|(unit, sum)| (unit.clone(), Amount(sum.0.saturating_neg()))).collect())
        };
        let shares = other.shares.iter().map(|share| Share { sums: negated(&share.sums), ..share.clone() });
        let mut all = Self { sums: negated(&other.sums), shares: shares.collect() };
        all.absorb_shares(self);
        all.sums.0.retain(|(_, sum)| sum.0 != 0);
        all.shares.iter_mut().for_each(|share| share.sums.0.retain(|(_, sum)| sum.0 != 0));
        all
    }

    /// What `other` has more than this, by unit.
    #[must_use]
    pub fn shortfall(&self, other: &Self) -> Self {
        let mut short = other.plain();
        short.remove(self);
        short
    }

    /// The greater of both, by unit.
    #[must_use]
    pub fn or_more(&self, other: &Self) -> Self {
        let mut most = self.plain();
        most.absorb(&self.shortfall(other));
        most
    }

    /// The greater of both, by unit, where either may happen: what one of them does not say is not known.
    #[must_use]
    pub fn either(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return self.or_more(other);
        }
        let mut most = self.or_more(other);
        most.sums.0.retain(|(unit, _)| self.says(unit) && other.says(unit));
        most
    }

    /// Whether something is known of `unit`.
    pub fn says(&self, unit: impl AsRef<str>) -> bool {
        self.sums.place(unit.as_ref()).is_ok()
    }

    /// The sums without `unit`: nothing is known of it.
    #[must_use]
    pub fn without(&self, unit: impl AsRef<str>) -> Self {
        let mut sums = self.sums.clone();
        sums.0.retain(|(known, _)| known != unit.as_ref());
        Self { sums, shares: Vec::new() }
    }

    /// The same sums `n` times.
    #[must_use]
    pub fn times(&self, n: f64) -> Self {
        let sums = self.sums.0.iter().map(|(unit, amount)| (unit.clone(), Amount::of(amount.units() * n)));
        Self { sums: Sums(sums.collect()), shares: Vec::new() }
    }

    /// Sum of `unit`, zero where nothing was added. `tokens` are those in and those out.
    pub fn get(&self, unit: impl AsRef<str>) -> f64 {
        let (unit, sum) = (unit.as_ref(), |unit: &str| self.sums.get(unit));
        if unit != Unit::Tokens.word() {
            return sum(unit).units();
        }
        let parts = [Unit::TokensIn, Unit::TokensOut].map(|part| sum(part.word()).0);
        Amount(parts.into_iter().fold(sum(unit).0, i64::saturating_add)).units()
    }

    /// Whether nothing was ever added.
    pub fn is_empty(&self) -> bool {
        self.sums.0.is_empty()
    }

    /// Units and sums, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.sums.0.iter().map(|(unit, amount)| (unit.as_ref(), amount.units()))
    }
}

impl Share {
    /// What it got.
    pub fn meter(&self) -> Meter {
        Meter { sums: self.sums.clone(), shares: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_written_as_decimals() {
        let mut meter = Meter::new();
        for _ in 0..10 {
            meter.absorb(&Meter::new().with("usd", 0.1).with("calls", 1.0));
        }
        assert_eq!(serde_json::to_string(&meter).unwrap(), r#"{"calls":10,"usd":1}"#);
        meter.add("usd", 0.000_000_001);
        let back: Meter = serde_json::from_str(&serde_json::to_string(&meter).unwrap()).unwrap();
        assert_eq!(back, meter);
    }

    #[test]
    fn shares_say_who_got_what() {
        let call = |to: &str| Meter::new().with("calls", 1.0).with("tokens_in", 3.0).paid(to, "judge");
        let mut meter = call("a");
        meter.absorb_shares(&call("b"));
        meter.absorb_shares(&call("a"));
        let text = serde_json::to_string(&meter).unwrap();
        assert_eq!(
            text,
            r#"{"calls":3,"tokens_in":9,"paid":[{"to":"a","for":"judge","calls":2,"tokens_in":6},{"to":"b","for":"judge","calls":1,"tokens_in":3}]}"#
        );
        assert_eq!(serde_json::from_str::<Meter>(&text).unwrap(), meter);
        assert_eq!(Amount::of(meter.get("tokens")), Amount::of(9.0));
    }

    #[test]
    fn what_is_taken_away_leaves_nothing_behind() {
        let mut meter = Meter::new().with("usd", 0.3).with("calls", 2.0);
        meter.remove(&Meter::new().with("usd", 0.1).with("calls", 5.0).with("tokens_in", 1.0));
        assert_eq!(meter, Meter::new().with("usd", 0.2));
        assert_eq!(meter.shortfall(&Meter::new().with("usd", 0.5)), Meter::new().with("usd", 0.3));
        assert_eq!(meter.or_more(&Meter::new().with("usd", 0.1)), meter);
        let (free, unpriced) =
            (Meter::new().with("calls", 1.0).with("usd", 0.0), Meter::new().with("calls", 2.0));
        assert_eq!((free.either(&unpriced), unpriced.either(&free)), (unpriced.clone(), unpriced.clone()));
        assert_eq!(free.either(&Meter::new()), free);
        assert!(free.says("usd") && !free.without("usd").says("usd"));
    }
}
