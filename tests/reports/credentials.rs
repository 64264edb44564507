//! Credentials in their true production forms.
