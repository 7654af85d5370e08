package filter

import "time"

// reminder returns the day on which a change takes effect in Denmark, and this hour of the day
// before.
func reminder(effective int64, hour int) (day string, at int64) {
	zone, err := time.LoadLocation("Europe/Copenhagen")
	if err != nil {
		panic(err)
	}
	local := time.Unix(effective, 0).In(zone)
	before := time.Date(local.Year(), local.Month(), local.Day()-1, hour, 0, 0, 0, zone)
	return local.Format(time.DateOnly), before.Unix()
}
