DROP TABLE former_followers;
