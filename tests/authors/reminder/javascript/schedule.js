// When to remind of a change.
import moment from 'moment-timezone';

// The day on which a change takes effect in Denmark, and this hour of the day before.
export const reminder = (effective, hour) => {
  const day = moment.unix(effective).tz('Europe/Copenhagen').startOf('day');
  const before = day.clone().subtract(1, 'day').hour(hour);
  return { day: day.format('YYYY-MM-DD'), at: before.unix() };
};
