//! Sizes in bytes, as authors write them: `512m`.

use crate::verb::Failure;

/// The size `given` for the key `name`, in bytes.
pub fn size(name: &str, given: Option<&str>) -> Result<Option<u64>, Failure> {
    let read = |text| {
        bytes(text).ok_or_else(|| {
            Failure::permanent(format!("`{name} = \"{text}\"` is not a valid size"))
                .hint("write it like \"512m\" or \"1g\"")
        })
    };
    given.map(read).transpose()
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.trim_end_matches("ib").trim_end_matches('b');
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_usual_units() {
        let read = |text| size("memory", Some(text)).unwrap().unwrap();
        assert_eq!((read("7"), read("2k"), read("512 MiB"), read("1g")), (7, 2048, 512 << 20, 1 << 30));
        for wrong in ["", "m", "much", "-1m", "1t", "99999999999g"] {
            assert!(size("disk", Some(wrong)).unwrap_err().to_string().contains("`disk = "), "{wrong}");
        }
        assert!(size("disk", None).unwrap().is_none());
    }
}
