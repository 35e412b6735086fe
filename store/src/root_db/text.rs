// store/src/root_db/text.rs
//! Bytes as texts in JSON, for `#[serde(with = "...")]`.

/// Bytes as text in JSON: themselves when they are UTF-8, else `\0` and hexadecimal (paths hold no NUL).
pub mod bytes_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    /// Returns the text of `bytes`.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> Cow<'_, str> {
        match str::from_utf8(bytes) {
            Ok(text) if !text.starts_with('\0') => Cow::Borrowed(text),
            _ => {
                let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
                let mut text = String::with_capacity(1 + 2 * bytes.len());
                text.push('\0');
                for byte in bytes {
                    text.push(digit(byte >> 4));
                    text.push(digit(byte & 15));
                }
                Cow::Owned(text)
            }
        }
    }

    /// Returns the bytes of a text, none when it is not one that [`encode`] writes.
    #[must_use]
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        let Some(digits) = text.strip_prefix('\0') else {
            return Some(text.as_bytes().to_vec());
        };
        let digits = digits.as_bytes();
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
    }

    /// Writes bytes as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    /// Reads bytes from text.
    ///
    /// # Errors
    /// When the text is none of ours.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| D::Error::custom("not bytes"))
    }
}

/// Optional bytes as text, see [`bytes_text`].
pub mod optional_bytes_text {
    use super::bytes_text;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes bytes as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            None => serializer.serialize_none(),
            Some(bytes) => serializer.serialize_some(&bytes_text::encode(bytes)),
        }
    }

    /// Reads bytes from text.
    ///
    /// # Errors
    /// When the text is none of ours.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "bytes_text")] Vec<u8>);
        Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
    }
}

/// A list of bytes as texts, see [`bytes_text`].
pub mod list_text {
    use super::bytes_text;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a list of bytes as texts.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|bytes| bytes_text::encode(bytes)))
    }

    /// Reads a list of bytes from texts.
    ///
    /// # Errors
    /// When a text is none of ours.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "bytes_text")] Vec<u8>);
        Ok(Vec::<Text>::deserialize(deserializer)?.into_iter().map(|text| text.0).collect())
    }
}

/// A map of bytes to bytes as texts, see [`bytes_text`].
pub mod map_text {
    use super::bytes_text;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    /// Writes a map as texts.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(map: &BTreeMap<Vec<u8>, Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(key, value)| (bytes_text::encode(key), bytes_text::encode(value))))
    }

    /// Reads a map from texts.
    ///
    /// # Errors
    /// When a text is none of ours.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, D::Error> {
        #[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
        struct Text(#[serde(with = "bytes_text")] Vec<u8>);
        let map = BTreeMap::<Text, Text>::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(key, value)| (key.0, value.0)).collect())
    }
}
