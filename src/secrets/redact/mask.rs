//! Replaces secrets by a mask.

/// Replacement for a secret.
const MASK: &str = "***";

/// `bytes` with `***` for `spans`, which may overlap. In a wide encoding the mask has zero bytes, too, so
/// that the rest stays readable.
pub(super) fn masked_bytes(bytes: &[u8], mut spans: Vec<(usize, usize)>) -> Vec<u8> {
    spans.sort_unstable();
    let (mut out, mut done) = (Vec::with_capacity(bytes.len()), 0);
    for (from, to) in spans {
        let to = to.min(bytes.len());
        if from >= done {
            out.extend_from_slice(&bytes[done..from]);
            out.extend(mask_like(&bytes[from..to]));
        }
        done = done.max(to);
    }
    out.extend_from_slice(&bytes[done..]);
    out
}

/// The mask for `secret`, with the same unit width.
fn mask_like(secret: &[u8]) -> Vec<u8> {
    let is_zero = |byte: &&u8| **byte == 0;
    let leading = secret.iter().take_while(is_zero).count();
    let trailing = secret.iter().rev().take_while(is_zero).count();
    let zeros = secret.iter().filter(is_zero).count();
    let letters = (secret.len() - zeros).max(1);
    let between = (zeros + letters / 2) / letters;
    let mut mask = vec![0; leading];
    for (at, letter) in MASK.bytes().enumerate() {
        mask.extend(std::iter::repeat_n(0, if at == 0 { 0 } else { between }));
        mask.push(letter);
    }
    mask.extend(std::iter::repeat_n(0, trailing));
    mask
}

/// `text` with `***` for `spans`, which may overlap.
pub(super) fn masked(text: &str, mut spans: Vec<(usize, usize)>) -> String {
    spans.sort_unstable();
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (from, to) in spans {
        let to = text.len().min((to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(to));
        if from >= done {
            let from = (0..=from).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0).max(done);
            out.push_str(&text[done..from]);
            out.push_str(MASK);
        }
        done = done.max(to);
    }
    out.push_str(&text[done..]);
    out
}
