//! twtrace
