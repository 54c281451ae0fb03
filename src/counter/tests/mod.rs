mod actor;
mod database;
mod fake;
mod model;
mod naive;
mod worker;
