-- Version 3: the day on which a key was last used, and e-mail addresses that are to confirm.

ALTER TABLE keys ADD COLUMN used INTEGER;

-- What confirms the subscription; NULL once it is. Nobody asked those of before: they are taken as they are.
ALTER TABLE subscriptions ADD COLUMN token TEXT;
