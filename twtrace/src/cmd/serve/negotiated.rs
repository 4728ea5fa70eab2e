//! What of the formats that we write a scraper likes best.

use axum::http::HeaderMap;

use crate::view::prometheus::Format;

/// The format for a request with these headers: text 0.0.4, unless another is liked better.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-accept>
pub(super) fn negotiated(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all("accept");
    let accepted = accepted.iter().filter_map(|value| value.to_str().ok());
    let offers = accepted.flat_map(|value| value.split(',')).filter_map(offer);
    // Of those that are liked equally the first.
    let best = offers.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(Format::Text, |(format, _)| format)
}

/// A format that we write, and how much it is liked; `None` if we do not, or it is not at all.
fn offer(accepted: &str) -> Option<(Format, f32)> {
    let mut parts = accepted.split(';').map(str::trim);
    let kind = parts.next()?;
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().trim_matches('"'))
    };
    let liked = parameter("q").map_or(Some(1.0), |q| q.parse().ok()).filter(|q| *q > 0.0)?;
    let format = match kind.to_ascii_lowercase().as_str() {
        "application/openmetrics-text"
            if parameter("version").is_none_or(|version| version == "1.0.0") =>
        {
            Format::OpenMetrics
        }
        "application/vnd.google.protobuf"
            if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && parameter("encoding") == Some("delimited") =>
        {
            Format::Protobuf
        }
        "text/plain" if parameter("version").is_none_or(|version| version == "0.0.4") => {
            Format::Text
        }
        "*/*" | "text/*" => Format::Text,
        _ => return None,
    };
    Some((format, liked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_accept(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().expect("a header"));
        negotiated(&headers)
    }

    #[test]
    fn what_scrapers_send() {
        // Prometheus 2.42.
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(for_accept(prometheus), Format::OpenMetrics);
        assert_eq!(for_accept("*/*"), Format::Text);
        assert_eq!(for_accept("text/html, application/xhtml+xml, */*;q=0.8"), Format::Text);
        assert_eq!(negotiated(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn native_histograms_are_asked_for_with_protobuf() {
        // Prometheus 2.42 with --enable-feature=native-histograms.
        let prometheus = "application/vnd.google.protobuf;\
                          proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                          application/openmetrics-text;version=1.0.0;q=0.8,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(for_accept(prometheus), Format::Protobuf);
        let text = "application/vnd.google.protobuf;encoding=text,text/plain;q=0.1";
        assert_eq!(for_accept(text), Format::Text);
    }

    #[test]
    fn what_we_do_not_write_is_passed_over() {
        assert_eq!(for_accept("application/openmetrics-text;version=2.0.0"), Format::Text);
        assert_eq!(for_accept("application/openmetrics-text;q=0"), Format::Text);
        assert_eq!(
            for_accept("text/plain;q=0.9, application/openmetrics-text;q=0.8"),
            Format::Text
        );
        assert_eq!(for_accept(";;;=,q,"), Format::Text);
        assert_eq!(for_accept("application/openmetrics-text;q=nan"), Format::Text);
    }
}
